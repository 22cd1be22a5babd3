"""Lines that somebody should hear about: runs that failed, fell silent, or have not succeeded for long."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from components.errors import without_credentials
from components.registry.history import public_uri
from components.tracking.client import pages, tracking_client
from components.tracking.events import PARENT_TAG, PIPELINE, RUN_ID_TAG, STAGE_TAG
from components.tracking.silence import last_sign

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

FAILED, SILENT, OVERDUE = "failed", "silent", "overdue"
_NOTICED = "vigil.noticed"
"""Tag of a run with what has been said about it, separated by spaces."""
_PAGE = 1000


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long what looks wrong is waited for."""

    retried: timedelta
    """After a failure: a stage that starts again opens its run again."""
    silent: timedelta
    """Without a sign of life of a run that goes on."""
    overdue: timedelta
    """Since the start of a line's last successful run."""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """One thing to say about a run."""

    line: str
    event: str
    """`failed`, `silent` or `overdue`."""
    text: str
    run_id: str
    """`VIGIL_RUN_ID` of the pipeline run."""
    link: str
    """Kubeflow's page of the run, else MLflow's; empty without either."""
    mlflow_run_id: str


def find_troubles(uri: str, patience: Patience, now: datetime, since: datetime) -> list[Trouble]:
    """What has not been said yet about the pipeline runs that started after `since`, at MLflow of a tracking URI."""
    client = tracking_client(uri)
    found = []
    for experiment in pages(client.search_experiments, max_results=_PAGE):
        query = f"tags.`{STAGE_TAG}` = '{PIPELINE}' and attributes.start_time > {int(since.timestamp() * 1000)}"
        options = {"filter_string": query, "max_results": _PAGE, "order_by": ["attributes.start_time DESC"]}
        runs = list(pages(client.search_runs, experiment_ids=[experiment.experiment_id], **options))
        found += [
            Trouble(
                line=str(experiment.name),
                event=event,
                text=without_credentials(" ".join(text.split())),
                run_id=run.data.tags.get(RUN_ID_TAG, ""),
                link=_link(uri, run),
                mlflow_run_id=str(run.info.run_id),
            )
            for run, event, text in _of_line(client, runs, patience, now)
            if event not in run.data.tags.get(_NOTICED, "").split()
        ]
    return found


def mark_noticed(uri: str, trouble: Trouble) -> None:
    """Remember with the run that it has been said."""
    client = tracking_client(uri)
    said = client.get_run(trouble.mlflow_run_id).data.tags.get(_NOTICED, "").split()
    client.set_tag(trouble.mlflow_run_id, _NOTICED, " ".join(dict.fromkeys([*said, trouble.event])))


def _of_line(
    client: "MlflowClient", runs: "Sequence[Run]", patience: Patience, now: datetime
) -> "Iterator[tuple[Run, str, str]]":
    """Runs of a line, newest first, with what is wrong with them."""
    for run in runs:
        tags = run.data.tags
        if run.info.status in ("FAILED", "KILLED") and now - _time(run.info.end_time) > patience.retried:
            stage, message = tags.get("vigil.failed_stage", "a stage"), tags.get("vigil.failure", "no message")
            yield run, FAILED, f"{stage} failed: {message}"
        elif run.info.status == "RUNNING":
            query = f"tags.`{PARENT_TAG}` = '{run.info.run_id}'"
            stages = pages(client.search_runs, experiment_ids=[run.info.experiment_id], filter_string=query)
            quiet = now - _time(last_sign(client, run, list(stages)))
            if quiet > patience.silent:
                minutes = int(quiet.total_seconds() // 60)
                yield run, SILENT, f"no sign of life for {minutes} minutes: it waits for a machine, or died unheard"
    successes = [run for run in runs if run.info.status == "FINISHED"]
    if successes and now - _time(successes[0].info.start_time) > patience.overdue:
        days = (now - _time(successes[0].info.start_time)).days
        yield successes[0], OVERDUE, f"no successful run for {days} days"


def _link(uri: str, run: "Run") -> str:
    if page := run.data.tags.get("vigil.run_url", ""):
        return str(page)
    address = public_uri(uri).rstrip("/")
    http = uri.startswith(("http://", "https://"))
    return f"{address}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}" if http else ""


def _time(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
