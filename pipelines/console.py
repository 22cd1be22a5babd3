"""What a person sees of a local run: the stages' own lines, out of all that KFP and its tasks print."""

import io
import re
import sys
import threading
import time
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components.stage import FAILURE, INPUT_ERROR, PREFIX

_STEP = re.compile(r"(?P<stage>\S+): step (?P<step>\d+)/(?P<total>\d+)")
_FAILED = re.compile(rf"(?P<stage>[^:]+): (?P<kind>{INPUT_ERROR}|{FAILURE}): (?P<message>.*)")
_FAILED_TASK = re.compile(r"Task (?P<task>\S+) finished with status .*FAILURE")
_NEXT_TASK = "Executing task"
_NO_TASK = "unknown"
_STEP_SECONDS = 10.0


class StageFailed(BaseException):
    """A stage has failed, and the next would start.

    Not an `Exception`: it travels through KFP's runner, which goes on with other stages after a failure.
    """


class StageLog(io.TextIOBase):
    """Standard output of a local run: all of it to the log file, the stages' lines to the console."""

    def __init__(self, path: Path) -> None:
        """Append to the log file at `path`, and print to what is standard output now."""
        self._file = path.open("a", buffering=1, encoding="utf-8")
        self._console = Console(file=sys.stdout, highlight=False)
        self._rest = ""
        self._lock = threading.Lock()
        self._stepped: dict[str, float] = {}
        self.failure: tuple[str, str, str] | None = None
        """Stage, kind (`input-error` or `failure`) and message of the first failure."""
        self.failed_task = _NO_TASK
        """Task that KFP reported as failed."""

    def write(self, text: str) -> int:
        """Take a piece of output.

        Raises:
            StageFailed: another task starts after one has failed.
        """
        with self._lock:
            self._file.write(text)
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._take(line)
        return len(text)

    def flush(self) -> None:
        """Write the log file through."""
        self._file.flush()

    def close(self) -> None:
        """Close the log file."""
        self._file.close()

    def _take(self, line: str) -> None:
        if _NEXT_TASK in line and (self.failure is not None or self.failed_task != _NO_TASK):
            raise StageFailed
        if ended := _FAILED_TASK.search(line):
            self.failed_task = _plain(ended["task"])
        _, found, message = line.partition(PREFIX)
        if not found:
            return
        message = message.strip()
        failed = _FAILED.match(message)
        if failed and self.failure is None:
            self.failure = (failed["stage"], failed["kind"], failed["message"])
        elif not failed and not self._is_too_soon(message):
            self._console.print(escape(message), style="dim" if ": started" in message else None, soft_wrap=True)

    def _is_too_soon(self, message: str) -> bool:
        step = _STEP.match(message)
        if step is None:
            return False
        now = time.monotonic()
        last = self._stepped.get(step["stage"], -_STEP_SECONDS)
        if now - last < _STEP_SECONDS and step["step"] != step["total"]:
            return True
        self._stepped[step["stage"]] = now
        return False


def _plain(task: str) -> str:
    """Name of a task without KFP's colours and quotes."""
    return re.sub(r"\x1b\[\d+m", "", task).strip("'")
