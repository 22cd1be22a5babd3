"""Fetches a file in a resumable way: partial file beside the target, checked, and renamed when it is complete."""

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

import tenacity
from urllib3.exceptions import HTTPError

from components.storage.network import SlowError, UnreachableError, backoff, limits, reason

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_CHUNK = 256 * 1024
_PROGRESS = 1024 * 1024
_CORRUPT_ATTEMPTS = 2


class CorruptError(OSError):
    """What arrived is not what was stored."""


class ChangedError(Exception):
    """The object is another one than when its transfer began."""


class BrokenError(Exception):
    """A body ended before its time."""


@dataclass(frozen=True, kw_only=True)
class Opened:
    """An answer whose body is still to be read."""

    response: "BaseHTTPResponse"
    """Its body goes to the end of the object."""
    offset: int
    """Byte of the object with which the body starts."""
    size: int | None
    """Bytes of the whole object; None when the server does not say."""


class Source(Protocol):
    """Something that can be fetched from any byte on."""

    def open(self, offset: int) -> Opened | None:
        """Open the object at a byte, or at its start when the server cannot do otherwise; None at its end."""

    def check(self, path: Path) -> None:
        """Raise `CorruptError` unless a complete file has the source's checksum."""


def fetch(source: Source, target: Path, tag: str) -> None:
    """Fetch a source to a file that appears under its name only when it is complete and checked.

    After an interruption what has arrived stays beside the target, and the next call with the same tag goes on there.

    Args:
        source: what is fetched.
        target: file to write; its folder exists.
        tag: names the content, so that what is left of another content is not continued.

    Raises:
        ChangedError: the source changed since its tag was known.
        CorruptError: the checksum was wrong twice.
        UnreachableError: the server does not answer, or its body keeps breaking off.
        OSError: the disk is full, or another process is fetching the same file.
    """
    partial = partial_path(target, tag)
    with _exclusive(partial) as file:
        try:
            _fill(source, file, partial)
        except (UnreachableError, KeyboardInterrupt):
            if not _size(file):
                partial.unlink()
            raise
        except BaseException:
            partial.unlink()
            raise
        partial.replace(target)


def read_sha256(source: Source) -> str:
    """The sha256 of a source, which is read to its end and not kept; a body that breaks off is continued.

    Raises:
        ChangedError: the source changed since its tag was known.
        UnreachableError: the server does not answer, or its body keeps breaking off.
    """
    reading = _Reading()
    _persist(lambda: reading.size, reading.go_on, source)
    return reading.digest.hexdigest()


def partial_path(target: Path, tag: str) -> Path:
    """Where a transfer of a content to a target keeps what has arrived."""
    return target.with_name(f"{_partial_prefix(target)}{_short(tag)}.partial")


def discard_partials(target: Path, tag: str) -> None:
    """Remove what is left of transfers of other contents to a target."""
    kept = partial_path(target, tag)
    for path in target.parent.glob(f"{_partial_prefix(target)}*.partial"):
        if path != kept:
            path.unlink(missing_ok=True)


def _partial_prefix(target: Path) -> str:
    return f".{_short(target.name)}-"


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@contextmanager
def _exclusive(partial: Path) -> Iterator[BinaryIO]:
    """Open a partial file for appending, for this process only."""
    with partial.open("ab", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            same = partial.exists() and os.path.samestat(os.fstat(file.fileno()), partial.stat())
        except BlockingIOError:
            same = False
        if not same:
            raise OSError(f"{partial.parent}: another process is fetching the same file")
        yield file


def _fill(source: Source, file: BinaryIO, partial: Path) -> None:
    _persist(lambda: _size(file), _attempt, source, file, partial)


def _persist(size: Callable[[], int], attempt: Callable[..., None], *arguments: object) -> None:
    """Make attempts until one comes to the end; `size` tells the bytes that are there."""
    retrying = tenacity.Retrying(
        stop=_Stop(size),
        wait=backoff(),
        retry=tenacity.retry_if_exception_type((BrokenError, CorruptError)),
        reraise=True,
    )
    try:
        retrying(attempt, *arguments)
    except BrokenError as error:
        raise UnreachableError(f"broke off after {limits().attempts} attempts without progress ({error})") from None


class _Stop(tenacity.stop.stop_base):
    """Stops after attempts in a row that got no further, and after a second wrong checksum."""

    def __init__(self, size: Callable[[], int]) -> None:
        self._size, self._limit = size, limits().attempts
        self._furthest = self._failures = self._corrupt = 0

    def __call__(self, retry_state: tenacity.RetryCallState) -> bool:
        outcome = retry_state.outcome
        self._corrupt += outcome is not None and isinstance(outcome.exception(), CorruptError)
        size = self._size()
        self._failures = 1 if size >= self._furthest + _PROGRESS else self._failures + 1
        self._furthest = max(self._furthest, size)
        return self._failures >= self._limit or self._corrupt >= _CORRUPT_ATTEMPTS


class _Reading:
    """A source that is read for its digest."""

    def __init__(self) -> None:
        self.digest, self.size = hashlib.sha256(), 0

    def go_on(self, source: Source) -> None:
        opened = source.open(self.size)
        if opened is None:
            return
        if opened.offset != self.size:
            self.digest, self.size = hashlib.sha256(), 0
        try:
            for chunk in _chunks(opened.response):
                self.digest.update(chunk)
                self.size += len(chunk)
        finally:
            opened.response.close()
        _check_end(self.size, opened.size)


def _attempt(source: Source, file: BinaryIO, partial: Path) -> None:
    """Append what is missing, and check the whole."""
    opened = source.open(_size(file))
    if opened is not None:
        try:
            file.truncate(opened.offset)
            _append(opened, file, partial)
        finally:
            opened.response.close()
    try:
        source.check(partial)
    except CorruptError:
        file.truncate(0)
        raise


def _append(opened: Opened, file: BinaryIO, partial: Path) -> None:
    for chunk in _chunks(opened.response):
        view = memoryview(chunk)
        try:
            while view:
                view = view[file.write(view) :]
        except OSError as error:
            raise OSError(f"{partial.parent}: {error.strerror} after {_size(file)} of {opened.size} bytes") from None
    _check_end(_size(file), opened.size)


def _check_end(received: int, size: int | None) -> None:
    if size is not None and received < size:
        raise BrokenError(f"{received} of {size} bytes")


def _chunks(response: "BaseHTTPResponse") -> Iterator[bytes]:
    try:
        while chunk := response.read1(_CHUNK, decode_content=False):
            yield chunk
    except (HTTPError, SlowError) as error:
        raise BrokenError(reason(error)) from None


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
