"""What a pipeline records about itself: one experiment per line, a parent run per pipeline run, a nested run per stage.

A stage only describes what is to be recorded, as events. They reach MLflow by a thread of the stage's own process, or,
where `VIGIL_TRACKING_SPOOL` names a folder, through files that the local runner publishes: then MLflow, whose import
alone takes seconds, is loaded once and not in every stage. Nothing that happens to MLflow stops a stage.

Off unless `MLFLOW_TRACKING_URI` is set. `VIGIL_RUN_ID`, from the environment so that it is no input of any task,
distinguishes the stages of one pipeline run from another's.
"""

import base64
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from components.errors import check
from components.tracking.events import SPOOL, TRACKING_URI, Event, Recorded, current_task, keep_events, read_events
from components.tracking.spool import SpoolTransport, spool_file
from components.tracking.transports import ThreadTransport, Transport

WAIT = "VIGIL_MLFLOW_WAIT"
"""Environment variable: seconds that the last stage of a pipeline waits for MLflow."""

_MOST_SECONDS = 86400.0
_POLL_SECONDS = 5.0
_MEASURED = ("params", "metrics", "tags")


class StageRun:
    """Recording of one stage; records nothing when tracking is off."""

    def __init__(self, line: str, stage: str, *, direct: bool = False) -> None:
        """Start the stage's run; `direct` sends from this process even in a local run, for who needs `run_id`."""
        self.active = bool(os.environ.get(TRACKING_URI))
        self.task = current_task(line, stage)
        spool = "" if direct else os.environ.get(SPOOL, "")
        self._transport = Transport()
        if self.active:
            self._transport = SpoolTransport(Path(spool), self.task) if spool else ThreadTransport()
        self._record("start", {})

    @property
    def run_id(self) -> str:
        """Id of the stage's MLflow run; empty without MLflow, a `RuntimeError` where another process publishes.

        `InputError` where the line's experiment is deleted.
        """
        return self._transport.run_id(self.task)

    def log_params(self, values: Mapping[str, Any], *, parent: bool = False) -> None:
        """Log parameters of the stage's run, or of the pipeline run; what it already has stays."""
        self._record("params", {name: str(value) for name, value in values.items()}, parent=parent)

    def log_metrics(self, values: Mapping[str, float], step: int = 0, *, parent: bool = False) -> None:
        """Log scalars of the stage's run, those of a loop every few seconds, or of the pipeline run."""
        scalars = {name: float(value) for name, value in values.items()}
        self._record("metrics", {"step": step, "scalars": scalars}, parent=parent)

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

    def backfill(self, path: Path, *, cached: bool = False) -> None:
        """Record what an earlier stage could not send and left in a file, if any; of a cached one what it measured."""
        for task, event in read_events(path) if path.is_file() else ():
            if not cached:
                self._transport.put(task, event)
            elif event.kind in _MEASURED and not event.parent:
                self._transport.put(replace(self.task, stage=task.stage, mlflow_run_id=""), event)

    def flush(self) -> list[Recorded]:
        """Send what waits; returns what could not be sent."""
        return self._transport.flush()

    def wait(self) -> None:
        """Wait for MLflow where no later stage or runner would send what is left; `InputError` for a wrong `WAIT`."""
        if not self.active or os.environ.get(SPOOL):
            return
        text = os.environ.get(WAIT, "")
        try:
            seconds = float(text or 600.0)
        except ValueError:
            seconds = -1.0
        check(0 <= seconds <= _MOST_SECONDS, WAIT, text, f"0 to {_MOST_SECONDS:.0f} seconds")
        deadline = time.monotonic() + seconds
        while self.flush() and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(_POLL_SECONDS, left))

    def end(self, status: str) -> None:
        """End the stage's run as `FINISHED`, `FAILED` or `KILLED`, and send what waits, or leave it to the runner."""
        self._record("end", {"status": status})
        left, spool = self._transport.flush(last=True), os.environ.get(SPOOL, "")
        if left and spool:
            keep_events(spool_file(Path(spool), self.task), left)

    def leave_unsent(self, path: Path) -> None:
        """Write what could not be sent into a file for a later stage; no file when all was sent."""
        if left := self.flush():
            keep_events(path, [*left, (self.task, Event(kind="end", values={"status": "FINISHED"}))])

    def _record(self, kind: str, values: Mapping[str, Any], *, parent: bool = False) -> None:
        self._transport.put(self.task, Event(kind=kind, values=values, parent=parent))


def check_admitted(run: StageRun) -> None:
    """Raise `RuntimeError` where MLflow answers, but refuses the login or the access (401, 403).

    A server behind a mesh or a login would stay empty otherwise, and every run would look as if all were well.
    """
    from components.tracking.client import is_denied, one_line, tracking_client

    if not run.active:
        return
    try:
        tracking_client().search_experiments(max_results=1)
    except Exception as error:  # noqa: BLE001 (an outage has its own treatment)
        if is_denied(error):
            expected = "expected cluster.mlflow_secret with a login, or no mesh in front of the server"
            allow = "registration.allow_unregistered: true lets runs go on without it"
            raise RuntimeError(f"MLflow refuses access: {one_line(error)}; {expected}; {allow}") from None


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
