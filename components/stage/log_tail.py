"""The last lines that a process printed, for the record of a failure."""

import io
import sys
from collections import deque
from types import TracebackType
from typing import TextIO

_KEPT_LINES = 60


class LogTail:
    """Keeps the last lines written to standard output and standard error inside its block; both go on as before."""

    def __init__(self) -> None:
        """Keep nothing yet."""
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._before: tuple[TextIO, TextIO] = (sys.stdout, sys.stderr)

    def __enter__(self) -> "LogTail":
        """Start to listen."""
        self._before = (sys.stdout, sys.stderr)
        sys.stdout, sys.stderr = (_Tee(stream, self._lines) for stream in self._before)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the streams back."""
        sys.stdout, sys.stderr = self._before

    def text(self) -> str:
        """The last lines, each with its end."""
        return "".join(f"{line}\n" for line in self._lines)


class _Tee(io.TextIOBase):
    """Passes text on to a stream, and its lines to a list."""

    def __init__(self, stream: TextIO, lines: deque[str]) -> None:
        self._stream = stream
        self._lines = lines
        self._rest = ""

    def write(self, text: str) -> int:
        written = self._stream.write(text)
        *lines, self._rest = (self._rest + text).split("\n")
        # What a progress bar overwrites in place is not a line of its own.
        self._lines.extend(line.rpartition("\r")[2] for line in lines)
        return written

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding
