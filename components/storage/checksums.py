"""Checksums of objects: what an entity tag or our own metadata says about the bytes of a file."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from components.artifacts import file_sha256

SHA256_HEADER = "x-amz-meta-vigil-sha256"
"""User metadata that a publish writes and a fetch is checked by."""

_MIB = 1024 * 1024
_MD5 = re.compile(r"[0-9a-f]{32}(?:-([1-9][0-9]*))?")
_ENCRYPTED = ("x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-aws-kms-key-id")


class CorruptError(OSError):
    """What arrived is not what was stored."""


def etag_of(path: Path, sizes: Iterable[int] = ()) -> str:
    """Entity tag of an uploaded file: its MD5, or the MD5 of the MD5s of its parts of these bytes, and their number."""
    with path.open("rb") as file:
        if not (parts := list(sizes)):
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        whole = hashlib.md5(usedforsecurity=False)
        for left in parts:
            part = hashlib.md5(usedforsecurity=False)
            while left and (chunk := file.read(min(left, _MIB))):
                part.update(chunk)
                left -= len(chunk)  # noqa: PLW2901 (counts what is left of the part)
            whole.update(part.digest())
    return f"{whole.hexdigest()}-{len(parts)}"


def equal_parts(size: int, part_bytes: int) -> list[int]:
    """Bytes of the parts of an upload: all equal but the last."""
    return [min(part_bytes, size - start) for start in range(0, size, part_bytes)]


def check_fetched(
    path: Path, etag: str, size: int, headers: Mapping[str, str], part_bytes: Callable[[int], int | None]
) -> None:
    """Check a fetched file by size, and by the best checksum that the store has.

    That is our sha256, else the MD5 of an object that was uploaded in one piece, else the MD5s of its parts. An object
    of others is checked by its size alone when a key of the user's encrypts it, or the store gives no sizes of parts.

    Args:
        path: the file.
        etag: entity tag of the object.
        size: bytes of the object.
        headers: the answer's headers, names in lower case.
        part_bytes: gives the bytes of a part by its number from 1; None when the store does not say.

    Raises:
        CorruptError: size or checksum is another one.
    """
    _check_equal("size", path.stat().st_size, size)
    if SHA256_HEADER in headers:
        return _check_equal("sha256", file_sha256(path), headers[SHA256_HEADER])
    tag = None if any(name in headers for name in _ENCRYPTED) else _MD5.fullmatch(etag)
    if tag is not None and tag[1] is None:
        _check_equal("MD5", etag_of(path), etag)
    elif tag is not None and (first := part_bytes(1)):
        parts = equal_parts(size, first)
        if len(parts) != int(tag[1]) or etag_of(path, parts) != etag:
            parts = [part_bytes(number) or 0 for number in range(1, int(tag[1]) + 1)]
            _check_equal("MD5 of parts", etag_of(path, parts), etag)
    return None


def check_stored(path: Path, etag: str, size: int, headers: Mapping[str, str], part_bytes: int) -> None:
    """Check what a store says about an object that was uploaded from a file in parts of a size.

    Raises:
        CorruptError: size or entity tag is another one.
    """
    _check_equal("size", size, path.stat().st_size)
    if not any(name in headers for name in _ENCRYPTED):
        _check_equal("MD5", etag, etag_of(path, equal_parts(size, part_bytes) if size > part_bytes else ()))


def _check_equal(name: str, received: object, expected: object) -> None:
    if received != expected:
        raise CorruptError(f"damaged: {name} is {received}, expected {expected}")
