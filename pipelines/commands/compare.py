"""`vigil compare`: earlier runs of lines beside each other, in the terminal, as a page or as JSON."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from components.errors import InputError, check
from components.registry.history import LineHistory, read_history
from pipelines.comparing.workdirs import merge_histories, read_workdir
from pipelines.terminal import console

_DAYS = re.compile(r"(\d{1,5})d")

Names = Annotated[list[str] | None, typer.Argument(metavar="LINE...", help="Names of lines.", show_default=False)]
Folders = Annotated[list[Path] | None, typer.Option("--workdir", help="Folder of local runs; may be repeated.")]
Uri = Annotated[str, typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow.", show_envvar=True)]


def compare(
    lines: Names = None,
    every: Annotated[bool, typer.Option("--all", help="All lines, those that need attention first.")] = False,
    workdir: Folders = None,
    tracking_uri: Uri = "",
    metric: Annotated[str, typer.Option(help="Metric of the gains and of the best model.")] = "image_auroc",
    since: Annotated[str, typer.Option(help="Leave out older runs: 2026-11-01, or 30d for 30 days.")] = "",
    stale_days: Annotated[int, typer.Option(min=1, help="Days without a finished run that need attention.")] = 30,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Page to write, .html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Compare runs, detectors, training sets and seeds of lines, and lines with each other."""
    from components.metrics.records import GATE_METRICS, PROXY_METRIC
    from pipelines.comparing.lines import compare_line
    from pipelines.comparing.page import write_page
    from pipelines.comparing.tables import print_line, print_overview, to_json

    known = (*GATE_METRICS, PROXY_METRIC)
    check(metric in known, "metric", metric, f"one of {', '.join(known)}")
    if output is not None:
        check(output.suffix == ".html", "output", str(output), "a .html file")
        check(output.resolve().parent.is_dir(), "output", str(output), "a file in an existing folder")
    now = datetime.now(UTC)
    histories = _histories(lines or [], every, workdir or [], tracking_uri, _since(since, now))
    compared = [compare_line(history, metric, now, stale_days) for history in histories]
    compared.sort(key=lambda line: (-line.score, line.line))
    if output is not None:
        write_page(compared, output, now)
    if as_json:
        typer.echo(to_json(compared))
        return
    if every or len(compared) > 1:
        print_overview(compared, console)
    for line in () if every else compared:
        print_line(line, console)
    if output is not None:
        console.print(f"page: {output}", soft_wrap=True)


def _histories(
    lines: list[str], every: bool, workdirs: list[Path], uri: str, since: datetime | None
) -> list[LineHistory]:
    if every == bool(lines) and (every or not workdirs):
        raise InputError("compare: expected names of lines, or --all, or --workdir")
    found = [read_workdir(folder, since) for folder in workdirs]
    if uri and (lines or every):
        found += read_history(uri, None if every else lines, since)
    elif not workdirs:
        raise InputError("tracking-uri: got '', expected MLflow's address, or --workdir")
    merged = {history.line: history for history in merge_histories(found)}
    for line in lines:
        check(line in merged, "line", line, "a line with runs")
    return [history for line, history in merged.items() if not lines or line in lines]


def _since(text: str, now: datetime) -> datetime | None:
    if not text:
        return None
    if days := _DAYS.fullmatch(text):
        return now - timedelta(days=int(days[1]))
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"since: got {text!r}, expected a date such as 2026-11-01, or days such as 30d") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
