"""Checksums of objects: what an entity tag or our own metadata says about the bytes of a file."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

from components.artifacts import file_sha256

SHA256_HEADER = "x-amz-meta-vigil-sha256"
"""User metadata that a publish writes and a fetch is checked by."""

_MIB = 1024 * 1024
_MD5 = re.compile(r"[0-9a-f]{32}(?:-([1-9][0-9]*))?")
_ENCRYPTED = ("x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-aws-kms-key-id")
_md5 = partial(hashlib.md5, usedforsecurity=False)


class CorruptError(OSError):
    """What arrived is not what was stored."""


def etag_of(path: Path, sizes: Iterable[int] = ()) -> str:
    """Entity tag of an uploaded file: its MD5, or the MD5 of the MD5s of its parts of these bytes, and their number."""
    parts = list(sizes)
    with path.open("rb") as file:
        if not parts:
            return hashlib.file_digest(file, _md5).hexdigest()
        whole = _md5()
        for size in parts:
            part = _md5()
            for start in range(0, size, _MIB):
                part.update(file.read(min(_MIB, size - start)))
            whole.update(part.digest())
    return f"{whole.hexdigest()}-{len(parts)}"


def equal_parts(size: int, part_bytes: int) -> list[int]:
    """Bytes of the parts of an upload: all equal but the last."""
    return [min(part_bytes, size - start) for start in range(0, size, part_bytes)]


def check_fetched(
    path: Path, etag: str, size: int, headers: Mapping[str, str], part_bytes: Callable[[int], int | None]
) -> None:
    """Raise `CorruptError` unless a fetched file has an object's size, and the best checksum that the store has.

    That is our sha256, else the MD5 of an object that was uploaded in one piece, else the MD5s of its parts. An object
    of others is checked by its size alone when a key of the user's encrypts it, or the store gives no sizes of parts.
    The headers have names in lower case; `part_bytes` gives the bytes of a part by its number from 1, if it can.
    """
    _check_equal("size", path.stat().st_size, size)
    tag = None if any(name in headers for name in _ENCRYPTED) else _MD5.fullmatch(etag)
    if SHA256_HEADER in headers:
        _check_equal("sha256", file_sha256(path), headers[SHA256_HEADER])
    elif tag and not tag[1]:
        _check_equal("MD5", etag_of(path), etag)
    elif tag and (first := part_bytes(1)):
        parts = equal_parts(size, first)
        if len(parts) != int(tag[1]) or etag_of(path, parts) != etag:
            parts = [part_bytes(number) or 0 for number in range(1, int(tag[1]) + 1)]
            _check_equal("MD5 of parts", etag_of(path, parts), etag)


def check_stored(path: Path, etag: str, size: int, headers: Mapping[str, str], part_bytes: int) -> None:
    """Raise `CorruptError` unless an object has the size and the entity tag of the file that was uploaded in parts."""
    _check_equal("size", size, path.stat().st_size)
    if not any(name in headers for name in _ENCRYPTED):
        _check_equal("MD5", etag, etag_of(path, equal_parts(size, part_bytes) if size > part_bytes else ()))


def _check_equal(name: str, received: object, expected: object) -> None:
    if received != expected:
        raise CorruptError(f"damaged: {name} is {received}, expected {expected}")
