"""What a pipeline records about itself: one experiment per line, a parent run per pipeline run, a nested run per stage.

A stage only describes what is to be recorded, as events. They reach MLflow by a thread of the stage's own process, or,
where `VIGIL_TRACKING_SPOOL` names a folder, through files that the local runner publishes: then MLflow, whose import
alone takes seconds, is loaded once and not in every stage. Nothing that happens to MLflow stops a stage.

Off unless `MLFLOW_TRACKING_URI` is set. `VIGIL_RUN_ID`, from the environment so that it is no input of any task,
distinguishes the stages of one pipeline run from another's.
"""

import base64
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.errors import check
from components.tracking.events import (
    KFP_MLFLOW_RUN,
    PIPELINE,
    RUN_ID,
    SPOOL,
    TRACKING_URI,
    Event,
    Recorded,
    Task,
    read_events,
    write_events,
)
from components.tracking.transports import SpoolTransport, ThreadTransport, Transport, spool_file

logger = logging.getLogger(__name__)

WAIT = "VIGIL_MLFLOW_WAIT"
"""Environment variable: seconds that the last stage of a pipeline waits for MLflow."""

_MOST_SECONDS = 86400.0
_MEASURED = ("params", "metrics", "tags")


class StageRun:
    """Recording of one stage; records nothing when tracking is off."""

    def __init__(self, line: str, stage: str, *, direct: bool = False) -> None:
        """Start the stage's run.

        `direct` sends from this process even where the local runner would publish, for a stage that needs the id of its
        MLflow run.
        """
        self.active = bool(os.environ.get(TRACKING_URI))
        self.task = current_task(line, stage)
        spool = "" if direct else os.environ.get(SPOOL, "")
        self._transport = Transport()
        if self.active:
            self._transport = SpoolTransport(Path(spool), self.task) if spool else ThreadTransport()
        self._record("start", {})

    @property
    def run_id(self) -> str:
        """Id of the stage's MLflow run; empty when tracking is off, or MLflow is down.

        Raises:
            RuntimeError: the events are published by another process.
        """
        return self._transport.run_id(self.task)

    def log_params(self, values: Mapping[str, Any], *, parent: bool = False) -> None:
        """Log parameters of the stage's run, or of the pipeline run; what it already has stays."""
        self._record("params", {name: str(value) for name, value in values.items()}, parent=parent)

    def log_parent_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters of the pipeline run; what it already has stays."""
        self.log_params(values, parent=True)

    def log_metrics(self, values: Mapping[str, float], step: int = 0, *, parent: bool = False) -> None:
        """Log scalars; those of a loop are sent every few seconds."""
        scalars = {name: float(value) for name, value in values.items()}
        self._record("metrics", {"step": step, "scalars": scalars}, parent=parent)

    def log_parent_metrics(self, values: Mapping[str, float]) -> None:
        """Log scalars of the pipeline run, by which runs of a line are compared."""
        self.log_metrics(values, parent=True)

    def log_tags(self, values: Mapping[str, str]) -> None:
        """Set tags `vigil.NAME` of the stage's run and of the pipeline run."""
        tags = {f"vigil.{name}": value for name, value in values.items()}
        self._record("tags", tags)
        self._record("tags", tags, parent=True)

    def log_parent_tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the pipeline run, under their full names."""
        self._record("tags", dict(values), parent=True)

    def log_file(self, content: bytes, name: str) -> None:
        """Store a file at the pipeline run, under a name that may have a folder."""
        self._record("file", {"name": name, "base64": base64.b64encode(content).decode()}, parent=True)

    def log_dataset(self, source: str, name: str, digest: str) -> None:
        """Log a data set as input of the stage's run and of the pipeline run."""
        values = {"source": source, "name": name, "digest": digest}
        self._record("dataset", values)
        self._record("dataset", values, parent=True)

    def log_cached(self, stage: str, computed_in: str, summary: Mapping[str, Any]) -> None:
        """Add a nested run for a stage that was taken from the cache, with the figures of the run that computed it."""
        self._record("cached", {"stage": stage, "computed_in": computed_in, "summary": dict(summary)}, parent=True)

    def log_failure(self, status: str, message: str, log: str) -> None:
        """End the pipeline run as `FAILED` or `KILLED`, with the stage, its message and its last lines."""
        values = {"status": status, "stage": self.task.stage, "message": message, "log": log}
        self._record("failure", values, parent=True)

    def sweep_lost_runs(self) -> None:
        """Fail what other pipeline runs of the line have left running for a quarter of an hour without a heartbeat."""
        self._record("sweep", {}, parent=True)

    def close_parent(self, status: str) -> None:
        """End the pipeline run."""
        self._record("close", {"status": status}, parent=True)

    def backfill(self, path: Path) -> None:
        """Record the events that an earlier stage could not send and left in a file, if there is one."""
        for task, event in read_events(path) if path.is_file() else ():
            self._transport.put(task, event)

    def backfill_cached(self, path: Path) -> None:
        """Record at a stage's cached run what it measured in another pipeline run and could not send to MLflow."""
        for task, event in read_events(path) if path.is_file() else ():
            if event.kind in _MEASURED and not event.parent:
                own = Task(line=self.task.line, run_id=self.task.run_id, stage=task.stage)
                self._transport.put(own, event)

    def flush(self) -> list[Recorded]:
        """Send what waits; returns what could not be sent."""
        return self._transport.flush()

    def wait(self) -> None:
        """Wait for an MLflow that does not answer, where no later stage and no runner would send what is left.

        Raises:
            InputError: `VIGIL_MLFLOW_WAIT` is no number of seconds.
        """
        if not self.active or os.environ.get(SPOOL):
            return
        text = os.environ.get(WAIT, "")
        try:
            seconds = float(text or 600.0)
        except ValueError:
            seconds = -1.0
        check(0 <= seconds <= _MOST_SECONDS, WAIT, text, f"0 to {_MOST_SECONDS:.0f} seconds")
        self._transport.wait(seconds)

    def end(self, status: str) -> None:
        """End the stage's run as `FINISHED`, `FAILED` or `KILLED`, and send what waits, or leave it to the runner."""
        self._record("end", {"status": status})
        left, spool = self._transport.close(), os.environ.get(SPOOL, "")
        if left and spool:
            _keep(spool_file(Path(spool), self.task), left)

    def leave_unsent(self, path: Path) -> None:
        """Write what could not be sent into a file for a later stage; no file when all was sent."""
        if left := self.flush():
            _keep(path, [*left, (self.task, Event(kind="end", values={"status": "FINISHED"}))])

    def _record(self, kind: str, values: Mapping[str, Any], *, parent: bool = False) -> None:
        self._transport.put(self.task, Event(kind=kind, values=values, parent=parent))


def current_task(line: str, stage: str) -> Task:
    """The stage that this process runs, by its environment."""
    run_id, mlflow_run_id = (os.environ.get(name, "") for name in (RUN_ID, KFP_MLFLOW_RUN))
    return Task(line=line, run_id=run_id, stage=stage, mlflow_run_id=mlflow_run_id)


@contextmanager
def stage_run(line: str, stage: str, *, direct: bool = False) -> Iterator[StageRun]:
    """Yield the recording of a stage; its run ends as FAILED, or as KILLED when interrupted, when the block raises."""
    run = StageRun(line, stage, direct=direct)
    try:
        yield run
    except BaseException as error:
        run.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    run.end("FINISHED")


def record_end(line: str, status: str, failure: Mapping[str, str] | None = None) -> None:
    """Record the end of the pipeline run by the local runner, as `FINISHED`, `FAILED` or `KILLED`.

    The failure is the `stage`, `message` and `log` of a stage that crashed before it could report them itself.
    """
    if not os.environ.get(TRACKING_URI):
        return
    task = current_task(line, PIPELINE)
    spool = SpoolTransport(Path(os.environ[SPOOL]), task)
    if failure:
        spool.put(task, Event(kind="failure", values={**failure, "status": status}, parent=True))
    spool.put(task, Event(kind="close", values={"status": status}, parent=True))


def _keep(path: Path, events: Sequence[Recorded]) -> None:
    """Write events that could not be sent; a full disk loses them, not the stage."""
    try:
        write_events(path, events)
    except OSError as error:
        logger.warning("%s: what MLflow lacks could not be kept (%s)", path.name, error)
