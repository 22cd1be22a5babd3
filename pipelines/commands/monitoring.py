"""`vigil exporter` and `vigil watch`: figures of lines for Prometheus, and notices about runs nobody has heard of."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from components.errors import InputError
from pipelines.terminal import console

_URI = "MLFLOW_TRACKING_URI"
Uri = Annotated[str, typer.Option("--tracking-uri", envvar=_URI, help="MLflow's address.", show_default=False)]
Days = Annotated[int, typer.Option(min=1, help="Runs that started earlier are not read.")]


def exporter(
    tracking_uri: Uri = "",
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "0.0.0.0",  # noqa: S104 (a pod's)
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 9464,
    every: Annotated[float, typer.Option(min=1, help="Seconds between two readings of MLflow.")] = 120.0,
    days: Days = 90,
) -> None:
    """Serve figures of all lines to Prometheus at /metrics: last success, champion's figure, drift, ages."""
    from pipelines.monitoring.exporter import serve

    _check(tracking_uri)
    serve(tracking_uri, host=host, port=port, seconds=every, days=days)


def watch(
    tracking_uri: Uri = "",
    webhook: Annotated[
        Path | None,
        typer.Option(envvar="VIGIL_WEBHOOK_DIR", help="Folder with the webhook's address in the file url."),
    ] = None,
    retried: Annotated[float, typer.Option(min=0, help="Minutes after a failure: it may be started again.")] = 20.0,
    silent: Annotated[float, typer.Option(min=1, help="Minutes without a sign of life of a run.")] = 60.0,
    overdue: Annotated[float, typer.Option(min=0.01, help="Days without a successful run of a line.")] = 7.0,
    days: Days = 30,
    every: Annotated[float, typer.Option(min=0, help="Minutes between two looks; 0 looks once.")] = 0.0,
) -> None:
    """Say of every line, once, which runs failed, fell silent, or have not succeeded for long; by webhook if given.

    What was said is remembered by a tag of the run, once the webhook has taken it.
    """
    _check(tracking_uri)
    minutes = timedelta(minutes=1)
    while True:
        _look(tracking_uri, webhook, (retried * minutes, silent * minutes, timedelta(days=overdue)), days)
        if not every:
            return
        time.sleep(every * 60)


def _check(uri: str) -> None:
    if not uri:
        raise InputError(f"tracking URI: got none, expected --tracking-uri or {_URI}")


def _look(uri: str, folder: Path | None, waits: tuple[timedelta, timedelta, timedelta], days: int) -> None:
    from components.notices.webhook import Notice, webhook_of
    from components.registry.troubles import Patience, find_troubles, mark_noticed
    from components.tracking.client import errors_in_one_line

    hook = webhook_of(folder) if folder else None
    now = datetime.now(UTC)
    retried, silent, overdue = waits
    patience = Patience(retried=retried, silent=silent, overdue=overdue)
    with errors_in_one_line():
        troubles = find_troubles(uri, patience, now, now - timedelta(days=days))
        for found in troubles:
            console.print(escape(f"{found.line} {found.event}: {found.text} {found.link}".rstrip()), soft_wrap=True)
            notice = Notice(line=found.line, event=found.event, text=found.text, run_id=found.run_id, link=found.link)
            if hook is None or hook.post(notice):
                mark_noticed(uri, found)
    if not troubles:
        console.print("nothing new")
