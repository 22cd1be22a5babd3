"""What a pipeline records about itself: one experiment per line, a parent run per pipeline run, a nested run per stage.

A stage only describes what is to be recorded, as events. They reach MLflow by a thread of the stage's own process, or,
where `VIGIL_TRACKING_SPOOL` names a folder, through files that the local runner publishes: then MLflow, whose import
alone takes seconds, is loaded once and not in every stage. Nothing that happens to MLflow stops a stage.

Off unless `MLFLOW_TRACKING_URI` is set. `VIGIL_RUN_ID`, from the environment so that it is no input of any task,
tells the stages of one pipeline run from another's.
"""

import base64
import os
import queue
import re
import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.errors import check
from components.tracking.events import (
    KFP_MLFLOW_RUN,
    PIPELINE,
    RUN_ID,
    SPOOL,
    TRACKING_URI,
    Event,
    Task,
    event_line,
    read_events,
    write_events,
)

if TYPE_CHECKING:
    from components.tracking.mlflow_writer import Writer

WAIT = "VIGIL_MLFLOW_WAIT"
"""Environment variable: seconds that the last stage of a pipeline waits for MLflow."""

_WAIT_SECONDS = 600.0
_MOST_SECONDS = 86400.0
_BATCH_SECONDS = 3.0
_CLOSE_SECONDS = 120.0
_RETRY_SECONDS = 30.0
_POLL_SECONDS = 5.0
_MEASURED = ("params", "metrics", "tags")


class Transport(Protocol):
    """How events reach MLflow."""

    def put(self, task: Task, event: Event) -> None:
        """Take an event; returns at once."""

    def flush(self) -> list[tuple[Task, Event]]:
        """Send what waits, and return what could not be sent."""

    def wait(self, seconds: float) -> None:
        """Return when all is sent, or after so many seconds."""

    def close(self) -> list[tuple[Task, Event]]:
        """Send what waits for the last time, tell what was refused, and return what could not be sent."""

    def run_id(self, task: Task) -> str:
        """Id of the task's MLflow run, empty where it does not exist."""


class StageRun:
    """Recording of one stage; records nothing when tracking is off."""

    def __init__(self, line: str, stage: str, *, direct: bool = False) -> None:
        """Start the stage's run.

        Args:
            line: name of the production line.
            stage: name of the stage.
            direct: send from this process even where the local runner would publish, for a stage that needs the
                id of its MLflow run.
        """
        self.active = bool(os.environ.get(TRACKING_URI))
        self.task = current_task(line, stage)
        if self.active:
            spool = "" if direct else os.environ.get(SPOOL, "")
            self._transport: Transport = SpoolTransport(Path(spool), self.task) if spool else ThreadTransport()
        self._record("start", {})

    @property
    def run_id(self) -> str:
        """Id of the stage's MLflow run; empty when tracking is off, or MLflow is down.

        Raises:
            RuntimeError: the events are published by another process.
        """
        return self._transport.run_id(self.task) if self.active else ""

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters of the stage's run."""
        self._record("params", _texts(values))

    def log_parent_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters of the pipeline run; what it already has stays."""
        self._record("params", _texts(values), parent=True)

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log scalars; those of a loop are sent every few seconds."""
        self._record("metrics", {"step": step, "scalars": {name: float(value) for name, value in values.items()}})

    def log_parent_metrics(self, values: Mapping[str, float]) -> None:
        """Log scalars of the pipeline run, by which runs of a line are compared."""
        scalars = {name: float(value) for name, value in values.items()}
        self._record("metrics", {"step": 0, "scalars": scalars}, parent=True)

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
        values = {"name": name, "base64": base64.b64encode(content).decode()} if self.active else {}
        self._record("file", values, parent=True)

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
        """Fail what other pipeline runs of the line have left running for a quarter of an hour without a sign."""
        self._record("sweep", {}, parent=True)

    def close_parent(self, status: str) -> None:
        """End the pipeline run."""
        self._record("close", {"status": status}, parent=True)

    def publish_left(self, path: Path) -> None:
        """Record the events that an earlier stage could not send and left in a file."""
        if self.active and path.is_file():
            for task, event in read_events(path):
                self._transport.put(task, event)

    def publish_left_of_cached(self, path: Path) -> None:
        """Record at a stage's cached run what it measured in another pipeline run, which MLflow did not hear."""
        if not self.active or not path.is_file():
            return
        for task, event in read_events(path):
            if event.kind in _MEASURED and not event.parent:
                own = Task(line=self.task.line, run_id=self.task.run_id, stage=task.stage)
                self._transport.put(own, event)

    def flush(self) -> list[tuple[Task, Event]]:
        """Send what waits; returns what could not be sent."""
        return self._transport.flush() if self.active else []

    def wait(self) -> None:
        """Wait for a silent MLflow, where no later stage and no runner would send what is left.

        Raises:
            InputError: `VIGIL_MLFLOW_WAIT` is no number of seconds.
        """
        if self.active and not os.environ.get(SPOOL):
            self._transport.wait(_wait_seconds())

    def end(self, status: str) -> None:
        """End the stage's run as `FINISHED`, `FAILED` or `KILLED`, and send what waits, or leave it to the runner."""
        self._record("end", {"status": status})
        left, spool = self._transport.close() if self.active else [], os.environ.get(SPOOL, "")
        if left and spool:
            _keep(_spool_file(Path(spool), self.task), left)

    def leave_unsent(self, path: Path) -> None:
        """Write what could not be sent into a file for a later stage; no file when all was sent."""
        if left := self.flush():
            ending = Event(kind="end", values={"status": "FINISHED"})
            _keep(path, [*left, (self.task, ending)])

    def _record(self, kind: str, values: Mapping[str, Any], *, parent: bool = False) -> None:
        if self.active:
            self._transport.put(self.task, Event(kind=kind, values=values, parent=parent))


class ThreadTransport:
    """Sends events from a thread of this process, several at a time."""

    def __init__(self) -> None:
        """Start the thread."""
        self._queue: queue.SimpleQueue[tuple[Task, Event] | threading.Event] = queue.SimpleQueue()
        self._waiting: list[tuple[Task, Event]] = []
        self._writer: Writer | None = None
        self._down_since = 0.0
        threading.Thread(target=self._work, daemon=True, name="tracking").start()

    def put(self, task: Task, event: Event) -> None:
        """Take an event; returns at once."""
        self._queue.put((task, event))

    def flush(self) -> list[tuple[Task, Event]]:
        """Send what waits, and return what could not be sent."""
        done = threading.Event()
        self._queue.put(done)
        done.wait(_CLOSE_SECONDS)
        return list(self._waiting)

    def wait(self, seconds: float) -> None:
        """Return when all is sent, or after so many seconds."""
        deadline = time.monotonic() + seconds
        while self.flush() and time.monotonic() < deadline:
            time.sleep(min(_POLL_SECONDS, max(0.0, deadline - time.monotonic())))

    def close(self) -> list[tuple[Task, Event]]:
        """Send what waits for the last time, tell what was refused, and return what could not be sent."""
        left = self.flush()
        if self._writer:
            self._writer.tell_losses()
        return left

    def run_id(self, task: Task) -> str:
        """Id of the task's MLflow run, empty where it does not exist."""
        self.flush()
        return self._writer.run_ids.get(task, "") if self._writer else ""

    def _work(self) -> None:
        while True:
            flushed = self._collect(time.monotonic() + _BATCH_SECONDS)
            retry = time.monotonic() - self._down_since > _RETRY_SECONDS
            if self._waiting and (flushed or retry):
                self._send()
            if flushed:
                flushed.set()

    def _collect(self, deadline: float) -> threading.Event | None:
        """Take events until the deadline, or until somebody waits for them to be sent."""
        while True:
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return None
            if isinstance(item, threading.Event):
                return item
            self._waiting.append(item)

    def _send(self) -> None:
        from components.tracking.mlflow_writer import Writer

        self._writer = self._writer or Writer()
        self._waiting = self._writer.write(self._waiting)
        self._down_since = time.monotonic() if self._waiting else 0.0


class SpoolTransport:
    """Appends events to a file of a folder that the local runner publishes."""

    def __init__(self, folder: Path, task: Task) -> None:
        """Open the stage's file."""
        self._file = _spool_file(folder, task).open("a", encoding="utf-8")

    def put(self, task: Task, event: Event) -> None:
        """Append a line; a full disk loses the record, not the stage."""
        try:
            self._file.write(event_line(task, event))
            self._file.flush()
        except OSError as error:
            print(f"[vigil] {task.stage}: not recorded for MLflow ({error})", flush=True)

    def flush(self) -> list[tuple[Task, Event]]:
        """Nothing waits."""
        return []

    def wait(self, seconds: float) -> None:
        """Nothing waits."""

    def close(self) -> list[tuple[Task, Event]]:
        """Nothing waits."""
        return []

    def run_id(self, task: Task) -> str:
        """Unknown here.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"{task.stage}: its MLflow run is made by the local runner; start the stage as direct")


def _spool_file(folder: Path, task: Task) -> Path:
    """A new file for a stage's events; its name sorts by time."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "-", task.stage)
    return folder / f"{time.time_ns()}-{name}-{secrets.token_hex(2)}.jsonl"


def _keep(path: Path, events: Sequence[tuple[Task, Event]]) -> None:
    """Write events that could not be sent; a full disk loses them, not the stage."""
    try:
        write_events(path, events)
    except OSError as error:
        print(f"[vigil] {path.name}: what MLflow lacks could not be kept ({error})", flush=True)


def _wait_seconds() -> float:
    text = os.environ.get(WAIT, "")
    try:
        seconds = float(text or _WAIT_SECONDS)
    except ValueError:
        seconds = -1.0
    check(0 <= seconds <= _MOST_SECONDS, WAIT, text, f"0 to {_MOST_SECONDS:.0f} seconds")
    return seconds


def current_task(line: str, stage: str) -> Task:
    """The stage that this process runs, by its environment."""
    made = os.environ.get(KFP_MLFLOW_RUN, "")
    return Task(line=line, run_id=os.environ.get(RUN_ID, ""), stage=stage, mlflow_run_id=made)


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
    """Record the end of the pipeline run by the local runner.

    Args:
        line: name of the production line.
        status: `FINISHED`, `FAILED` or `KILLED`.
        failure: `stage`, `message` and `log` of a stage that could not tell them itself.
    """
    if not os.environ.get(TRACKING_URI):
        return
    task = current_task(line, PIPELINE)
    spool = SpoolTransport(Path(os.environ[SPOOL]), task)
    if failure:
        spool.put(task, Event(kind="failure", values={**failure, "status": status}, parent=True))
    spool.put(task, Event(kind="close", values={"status": status}, parent=True))


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
