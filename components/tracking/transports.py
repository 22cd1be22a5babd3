"""How events reach MLflow: from a thread of the stage's process, or by files that the local runner publishes."""

import logging
import queue
import re
import secrets
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from components.tracking.events import Event, Recorded, Task, event_line

if TYPE_CHECKING:
    from components.tracking.mlflow_writer import Writer

logger = logging.getLogger(__name__)

_BATCH_SECONDS = 3.0
_CLOSE_SECONDS = 120.0
_RETRY_SECONDS = 30.0
_POLL_SECONDS = 5.0


class Transport:
    """What every transport offers; by itself, it drops every event."""

    def put(self, task: Task, event: Event) -> None:
        """Take an event; returns at once."""

    def flush(self) -> list[Recorded]:
        """Send what waits, and return what could not be sent."""
        return []

    def wait(self, seconds: float) -> None:
        """Return when all is sent, or after so many seconds."""

    def close(self) -> list[Recorded]:
        """Send what waits for the last time, report what was refused, and return what could not be sent."""
        return []

    def run_id(self, task: Task) -> str:
        """Id of the task's MLflow run, empty where it does not exist."""
        return ""


class ThreadTransport(Transport):
    """Sends events from a thread of this process, several at a time."""

    def __init__(self) -> None:
        """Start the thread."""
        self._queue: queue.SimpleQueue[Recorded | threading.Event] = queue.SimpleQueue()
        self._waiting: list[Recorded] = []
        self._writer: Writer | None = None
        threading.Thread(target=self._work, daemon=True, name="tracking").start()

    def put(self, task: Task, event: Event) -> None:
        """Take an event; returns at once."""
        self._queue.put((task, event))

    def flush(self) -> list[Recorded]:
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

    def close(self) -> list[Recorded]:
        """Send what waits for the last time, report what was refused, and return what could not be sent."""
        left = self.flush()
        if self._writer:
            self._writer.report_losses()
        return left

    def run_id(self, task: Task) -> str:
        """Id of the task's MLflow run, empty where it does not exist."""
        self.flush()
        return self._writer.run_ids.get(task, "") if self._writer else ""

    def _work(self) -> None:
        """Send the events of every few seconds, at once where somebody waits, and seldom while MLflow is down."""
        from components.tracking.mlflow_writer import Writer

        down_since = 0.0
        while True:
            deadline, flushed = time.monotonic() + _BATCH_SECONDS, None
            while flushed is None and (left := deadline - time.monotonic()) > 0:
                with suppress(queue.Empty):
                    item = self._queue.get(timeout=left)
                    if isinstance(item, threading.Event):
                        flushed = item
                    else:
                        self._waiting.append(item)
            if self._waiting and (flushed or time.monotonic() - down_since > _RETRY_SECONDS):
                self._writer = self._writer or Writer()
                self._waiting = self._writer.write(self._waiting)
                down_since = time.monotonic() if self._waiting else 0.0
            if flushed:
                flushed.set()


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
