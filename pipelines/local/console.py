"""What a person sees of a local run: the stages' log lines (`components.logs`), out of all that KFP prints."""

import io
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from components.logs import PREFIX
from components.stage.run import FAILURE, INPUT_ERROR

_COLOUR = re.compile(r"\x1b\[\d+m")
_STEP = re.compile(r"(?P<stage>\S+): step (?P<step>\d+)/(?P<total>\d+)")
_FAILED = re.compile(rf"(?P<stage>[^:]+): (?P<kind>{INPUT_ERROR}|{FAILURE}): (?P<message>.*)")
_ENDED_TASK = re.compile(r"Task '?(?P<task>[^\s']+)'? finished with status .*(?P<status>SUCCESS|FAILURE)")
_NEXT_TASK = re.compile(r"Executing task '?(?P<task>[^\s']+)")
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
                self._follow_task(_COLOUR.sub("", line))
                _, _, message = line.partition(PREFIX)
                if message:
                    self._show(message.strip())
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

    def _follow_task(self, line: str) -> None:
        """Check for failures before the next task, and before KFP caches a success or looks for its outputs."""
        if started := _NEXT_TASK.search(line):
            self.require_success()
            self._task = started["task"]
        if ended := _ENDED_TASK.search(line):
            if ended["status"] == "FAILURE":
                self.failed_task = ended["task"]
            else:
                self.require_success()

    def _show(self, message: str) -> None:
        """Print a stage's message, but for a failure, which is kept, and for a step soon after another."""
        if failed := _FAILED.match(message):
            self.failure = self.failure or (failed["stage"], failed["kind"], failed["message"])
            return
        if step := _STEP.match(message):
            now = time.monotonic()
            too_soon = now - self._stepped.get(step["stage"], -_STEP_SECONDS) < _STEP_SECONDS
            if too_soon and step["step"] != step["total"]:
                return
            self._stepped[step["stage"]] = now
        self._console.print(escape(message), style="dim" if ": started" in message else None, soft_wrap=True)
