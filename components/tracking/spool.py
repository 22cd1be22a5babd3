"""How events of a local run reach MLflow: its stages append them to files of a folder, which its runner publishes."""

import logging
import os
import re
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from components.tracking.events import (
    PIPELINE,
    SPOOL,
    TRACKING_URI,
    Event,
    EventFile,
    Recorded,
    Task,
    current_task,
    event_line,
    write_events,
)
from components.tracking.mlflow_writer import OUTAGE_REPORTED, Writer
from components.tracking.transports import Transport

logger = logging.getLogger(__name__)

_POLL_SECONDS = 1.0


class SpoolTransport(Transport):
    """Appends events to a file of a folder that the local runner publishes; nothing waits."""

    def __init__(self, folder: Path, task: Task) -> None:
        """Open the stage's file."""
        self._file = spool_file(folder, task).open("a", encoding="utf-8")

    def put(self, task: Task, event: Event) -> None:
        """Append a line; a full disk loses the record, not the stage."""
        try:
            self._file.write(event_line(task, event))
            self._file.flush()
        except OSError as error:
            logger.warning("%s: not recorded for MLflow (%s)", task.stage, error)

    def run_id(self, task: Task) -> str:
        """Unknown here: raises `RuntimeError`."""
        raise RuntimeError(f"{task.stage}: its MLflow run is made by the local runner; start the stage as direct")


def spool_file(folder: Path, task: Task) -> Path:
    """A new file for a stage's events; its name sorts by time."""
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9]+", "-", task.stage)
    return folder / f"{time.time_ns()}-{name}-{secrets.token_hex(2)}.jsonl"


def record_end(line: str, status: str, failure: Mapping[str, str] | None = None) -> None:
    """Record how a local pipeline run ended, with `stage`, `message` and `log` of a stage that crashed unreported."""
    if not os.environ.get(TRACKING_URI):
        return
    task = current_task(line, PIPELINE)
    spool = SpoolTransport(Path(os.environ[SPOOL]), task)
    if failure:
        spool.put(task, Event(kind="failure", values={**failure, "status": status}, parent=True))
    spool.put(task, Event(kind="close", values={"status": status}, parent=True))


@contextmanager
def published(folder: Path) -> Iterator[Callable[[], bool]]:
    """Publish the events that tasks append to the files of a folder while the block runs.

    Yields a function to be called when no task runs any more: it sends what is there, and returns whether all of it was
    sent. What is left stays in the folder, and is sent when the folder is published again.
    """
    _forget_outage(folder)
    publisher = _FolderPublisher(folder)
    publisher.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield publisher.finish
    finally:
        publisher.stop()
        publisher.writer.close()
        _forget_outage(folder)


def _forget_outage(folder: Path) -> None:
    """Let the next run report that MLflow does not answer."""
    with suppress(OSError):
        (folder / OUTAGE_REPORTED).unlink()


class _FolderPublisher(threading.Thread):
    """Sends the files of a folder every second, as they grow."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True, name="tracking")
        self.writer = Writer()
        self._folder = folder
        self._files: dict[Path, EventFile] = {}
        self._waiting: list[Recorded] = []
        self._stopped = threading.Event()

    def run(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            with suppress(OSError):  # reported by `finish`
                self._publish()

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def finish(self) -> bool:
        """Send what is left, and keep only what could not be sent; whether all was sent."""
        self.stop()
        self._publish()
        files = sorted(self._files)
        if self._waiting:
            write_events(files.pop(0), self._waiting)
        for path in files:
            path.unlink()
        return not self._waiting

    def _publish(self) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            self._waiting += self._files.setdefault(path, EventFile(path)).new_events()
        self._waiting = self.writer.write(self._waiting)
