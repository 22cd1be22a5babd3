"""Publishes to MLflow what the stages of a local run append to files."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.tracking.events import EventFile, Recorded, write_events
from components.tracking.mlflow_writer import OUTAGE_REPORTED, Writer

_POLL_SECONDS = 1.0


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
