"""What a person sees of a local run: the stages' own lines, out of all that KFP and its tasks print."""

import io
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components.stage.run import FAILURE, INPUT_ERROR, PREFIX

_STEP = re.compile(r"(?P<stage>\S+): step (?P<step>\d+)/(?P<total>\d+)")
_FAILED = re.compile(rf"(?P<stage>[^:]+): (?P<kind>{INPUT_ERROR}|{FAILURE}): (?P<message>.*)")
_ENDED_TASK = re.compile(r"Task (?P<task>\S+) finished with status .*(?P<status>SUCCESS|FAILURE)")
_NEXT_TASK = re.compile(r"Executing task (?P<task>\S+)")
_NO_TASK = "unknown"
_STEP_SECONDS = 10.0


class StageFailed(BaseException):
    """A stage has failed, and KFP would go on.

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
        self._task = _NO_TASK
        self._has_failed: Callable[[], bool] = lambda: False
        self.failure: tuple[str, str, str] | None = None
        """Stage, kind (`input-error` or `failure`) and message of the first failure."""
        self.failed_task = _NO_TASK
        """Task that KFP reported as failed."""

    def write(self, text: str) -> int:
        """Take a piece of output.

        Raises:
            StageFailed: a task has failed, and another starts, or KFP takes it for a success.
        """
        with self._lock:
            self._file.write(text)
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                self._take(line)
        return len(text)

    def watch(self, has_failed: Callable[[], bool]) -> None:
        """Ask also `has_failed` for a failure that KFP may not notice, around every task and at the end."""
        self._has_failed = has_failed

    def require_success(self) -> None:
        """Check that nothing has failed.

        Raises:
            StageFailed: a stage has failed.
        """
        if self.failure is None and self.failed_task == _NO_TASK and self._has_failed():
            self.failed_task = self._task
        if self.failure is not None or self.failed_task != _NO_TASK:
            raise StageFailed

    def flush(self) -> None:
        """Write the log file through."""
        self._file.flush()

    def close(self) -> None:
        """Close the log file."""
        self._file.close()

    def _take(self, line: str) -> None:
        if started := _NEXT_TASK.search(line):
            self.require_success()
            self._task = _plain(started["task"])
        if ended := _ENDED_TASK.search(line):
            self._end_task(_plain(ended["task"]), ended["status"])
        _, found, message = line.partition(PREFIX)
        if not found:
            return
        message = message.strip()
        failed = _FAILED.match(message)
        if failed and self.failure is None:
            self.failure = (failed["stage"], failed["kind"], failed["message"])
        elif not failed and not self._is_too_soon(message):
            self._console.print(escape(message), style="dim" if ": started" in message else None, soft_wrap=True)

    def _end_task(self, task: str, status: str) -> None:
        """Before KFP looks for the outputs of a success, or keeps it in its cache, see that it was one."""
        if status == "FAILURE":
            self.failed_task = task
        else:
            self.require_success()

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
