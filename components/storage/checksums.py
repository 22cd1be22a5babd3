"""Checksums of objects: what an entity tag or our own metadata says about the bytes of a file."""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from components.artifacts import file_sha256
from components.storage.transfer import CorruptError

SHA256_HEADER = "x-amz-meta-vigil-sha256"
"""User metadata that a publish writes and a fetch is checked by."""

_MIB = 1024 * 1024
_COMMON_PARTS = tuple(size * _MIB for size in (5, 8, 10, 15, 16, 32, 50, 64, 100, 128, 256, 512))
_MD5 = re.compile(r"[0-9a-f]{32}")
_OF_PARTS = re.compile(r"[0-9a-f]{32}-([1-9][0-9]*)")
_ENCRYPTED = ("x-amz-server-side-encryption-customer-algorithm", "x-amz-server-side-encryption-aws-kms-key-id")


def md5_etag(path: Path) -> str:
    """Entity tag of a file that is uploaded in one piece: the MD5 of its bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def parts_etag(path: Path, sizes: Iterable[int]) -> str:
    """Entity tag of a file that is uploaded in parts of these bytes: the MD5 of the parts' MD5s, and their number."""
    with path.open("rb") as file:
        digests = [_md5_of_next(file, size) for size in sizes]
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{whole}-{len(digests)}"


def equal_parts(size: int, part_bytes: int) -> list[int]:
    """Bytes of the parts of an upload: all equal but the last."""
    return [min(part_bytes, size - start) for start in range(0, size, part_bytes)]


def check_fetched(
    path: Path, etag: str, size: int, headers: Mapping[str, str], part_bytes: Callable[[int], int | None]
) -> None:
    """Check a fetched file by size, and by the best checksum that the store has.

    That is our sha256, else the MD5 of an object that was uploaded in one piece, else the MD5s of its parts.
    Without our sha256, an object that is encrypted by a key of the user's is checked by its size alone, and so is
    one of parts where the store tells no sizes of parts and the usual ones do not fit.

    Args:
        path: the file.
        etag: entity tag of the object.
        size: bytes of the object.
        headers: the answer's headers, names in lower case.
        part_bytes: tells the bytes of a part by its number from 1; None when the store does not.

    Raises:
        CorruptError: size or checksum is another one.
    """
    _check_equal("size", path.stat().st_size, size)
    if SHA256_HEADER in headers:
        _check_equal("sha256", file_sha256(path), headers[SHA256_HEADER])
    elif not _is_encrypted(headers) and _MD5.fullmatch(etag):
        _check_equal("MD5", md5_etag(path), etag)
    elif not _is_encrypted(headers) and (parts := _OF_PARTS.fullmatch(etag)):
        _check_parts(path, etag, int(parts[1]), part_bytes)


def check_stored(path: Path, etag: str, size: int, headers: Mapping[str, str], part_bytes: int) -> None:
    """Check what a store tells about an object that was uploaded from a file in parts of a size.

    Raises:
        CorruptError: size or entity tag is another one.
    """
    _check_equal("size", size, path.stat().st_size)
    if not _is_encrypted(headers):
        _check_equal(
            "MD5", etag, md5_etag(path) if size <= part_bytes else parts_etag(path, equal_parts(size, part_bytes))
        )


def _check_parts(path: Path, etag: str, count: int, part_bytes: Callable[[int], int | None]) -> None:
    size, first = path.stat().st_size, part_bytes(1)
    likely = [first] if first else _COMMON_PARTS
    for sizes in [equal_parts(size, part) for part in likely if -(-size // part) == count]:
        if parts_etag(path, sizes) == etag:
            return
    if first:
        told = [part_bytes(number) or 0 for number in range(1, count + 1)]
        _check_equal("MD5 of parts", parts_etag(path, told), etag)


def _md5_of_next(file: BinaryIO, size: int) -> bytes:
    digest = hashlib.md5(usedforsecurity=False)
    while size and (chunk := file.read(min(size, _MIB))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()


def _check_equal(name: str, received: object, expected: object) -> None:
    if received != expected:
        raise CorruptError(f"damaged: {name} is {received}, expected {expected}")


def _is_encrypted(headers: Mapping[str, str]) -> bool:
    return any(name in headers for name in _ENCRYPTED)
