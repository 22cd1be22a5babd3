"""Publishes to MLflow what the stages of a local run append to files."""

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from components.tracking.events import EventFile, write_events
from components.tracking.mlflow_writer import OUTAGE_TOLD, Recorded, Writer

_POLL_SECONDS = 1.0


@contextmanager
def published(folder: Path) -> Iterator[Callable[[], bool]]:
    """Publish the events that tasks append to the files of a folder while the block runs.

    Yields:
        A function to be called when no task runs any more: it sends what is there, and tells whether all of it was
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
        _forget_outage(folder)


def _forget_outage(folder: Path) -> None:
    """Let the next run say that MLflow does not answer."""
    with suppress(OSError):
        (folder / OUTAGE_TOLD).unlink()


class _FolderPublisher:
    """Sends the files of a folder as they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[Path, EventFile] = {}
        self._waiting: list[Recorded] = []
        self._writer = Writer()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True, name="tracking")

    def start(self) -> None:
        """Publish every second until told to stop."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and tell what was refused."""
        self._stopped.set()
        self._thread.join()
        self._writer.tell_losses()

    def finish(self) -> bool:
        """Send what is left, and keep only what could not be sent; whether all was sent."""
        self._stopped.set()
        self._thread.join()
        self._publish()
        files = sorted(self._files)
        if self._waiting:
            write_events(files.pop(0), self._waiting)
        for path in files:
            path.unlink()
        return not self._waiting

    def _follow(self) -> None:
        while not self._stopped.wait(_POLL_SECONDS):
            with suppress(OSError):  # told by `finish`
                self._publish()

    def _publish(self) -> None:
        for path in sorted(self._folder.glob("*.jsonl")):
            self._waiting += self._files.setdefault(path, EventFile(path)).new_events()
        self._waiting = self._writer.write(self._waiting)
