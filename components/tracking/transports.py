"""How events reach MLflow: from a thread of the stage's process; `spool` has the other way."""

import queue
import threading
import time
from contextlib import suppress

from components.tracking.events import Event, Recorded, Task
from components.tracking.mlflow_writer import Writer

_BATCH_SECONDS, _CLOSE_SECONDS, _RETRY_SECONDS = 3.0, 120.0, 30.0


class Transport:
    """What every transport offers; by itself, it drops every event."""

    def put(self, task: Task, event: Event) -> None:
        """Take an event; returns at once."""

    def flush(self, *, last: bool = False) -> list[Recorded]:
        """Send what waits, the last time report what was refused, and return what could not be sent."""
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
        self._writer = Writer()
        threading.Thread(target=self._work, daemon=True, name="tracking").start()

    def put(self, task: Task, event: Event) -> None:
        """Take an event; returns at once."""
        self._queue.put((task, event))

    def flush(self, *, last: bool = False) -> list[Recorded]:
        """Send what waits, the last time report what was refused, and return what could not be sent."""
        done = threading.Event()
        self._queue.put(done)
        done.wait(_CLOSE_SECONDS)
        if last:
            self._writer.report_losses()
        return list(self._waiting)

    def run_id(self, task: Task) -> str:
        """Id of the task's MLflow run, empty where it does not exist; an error where its experiment is deleted."""
        self.flush()
        if self._writer.deleted:
            raise self._writer.deleted
        return self._writer.run_ids.get(task, "")

    def _work(self) -> None:
        """Send the events of every few seconds, at once where somebody waits, and seldom while MLflow is down."""
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
                self._waiting = self._writer.write(self._waiting)
                down_since = time.monotonic() if self._waiting else 0.0
            if flushed:
                flushed.set()
