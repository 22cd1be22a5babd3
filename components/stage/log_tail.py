"""The last lines that a process printed, for the record of a failure."""

import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast

_KEPT_LINES = 60


@contextmanager
def last_lines() -> Iterator[deque[str]]:
    """Yield the last lines written to standard output and standard error inside the block; both go on as before."""
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    out, errors = (cast("TextIO", _Tee(stream, lines)) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(errors):
        yield lines


class _Tee:
    """A stream that passes what is written on, and its lines, each with its end, to a list."""

    def __init__(self, stream: TextIO, lines: deque[str]) -> None:
        self._stream = stream
        self._lines = lines
        self._rest = ""

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        # What a progress bar overwrites in place is not a line of its own.
        self._lines.extend(line.rpartition("\r")[2] + "\n" for line in lines)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
