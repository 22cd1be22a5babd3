"""One object of the store: found, fetched in a resumable way, and uploaded until the store has it."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from urllib3.exceptions import HTTPError, MaxRetryError

from components.artifacts import file_sha256
from components.errors import InputError
from components.storage.checksums import SHA256_HEADER, CorruptError, check_fetched, check_stored
from components.storage.network import Deadline, UnreachableError, limits, wait_before

if TYPE_CHECKING:
    from minio import Minio

_CHUNK = 256 * 1024
_PROGRESS = 1024 * 1024
_PART_BYTES = 16 * 1024 * 1024
_UPLOADS = 2


class ChangedError(Exception):
    """The object is another one than when its transfer began."""


@dataclass(kw_only=True)
class RemoteObject:
    """An object as it was when it was found or listed; reading another one raises `ChangedError`."""

    client: "Minio"
    bucket: str
    key: str
    name: str = ""
    """Key relative to the prefix that was listed."""
    etag: str
    """Entity tag; changes with the content."""
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of the last answer, names in lower case; empty when the object was only listed."""

    def fetch(self, target: Path) -> None:
        """Fetch to a file that appears under its name only when it is complete and checked.

        After an interruption what has arrived stays beside the target, where the next call goes on.

        Raises:
            ChangedError: the object is another one than before.
            CorruptError: the checksum was wrong twice.
            HTTPError, UnreachableError: the store does not answer, the body keeps breaking off, or time is over.
            OSError: the disk is full.
        """
        name = f".{hashlib.sha256(target.name.encode()).hexdigest()[:16]}"
        partial = target.with_name(f"{name}-{hashlib.sha256(self.etag.encode()).hexdigest()[:16]}.partial")
        for other in set(target.parent.glob(f"{name}-*.partial")) - {partial}:
            other.unlink(missing_ok=True)
        with partial.open("ab", buffering=0) as file:
            try:
                self._fill(file, partial)
            except BaseException as error:
                resumable = isinstance(error, (HTTPError, UnreachableError, KeyboardInterrupt))
                if not resumable or not _size(file):
                    partial.unlink()
                raise
        partial.replace(target)

    def _fill(self, file: BinaryIO, partial: Path) -> None:
        """Append what is missing and check the whole, until it is right or no further attempt helps."""
        deadline, most = Deadline(), limits().attempts
        furthest = failures = 0
        damaged = False
        while True:
            try:
                if _size(file) < self.size or not self.headers:
                    self._append(file, partial.parent, deadline)
                return check_fetched(partial, self.etag, self.size, self.headers, self._part_bytes)
            except MaxRetryError:
                raise
            except HTTPError as error:
                failures = 1 if _size(file) >= furthest + _PROGRESS else failures + 1
                furthest = max(furthest, _size(file))
                if failures >= most:
                    cause = type(error).__name__
                    raise UnreachableError(f"broke off after {most} attempts without progress ({cause})") from None
                wait_before(failures + 1)
            except CorruptError:
                file.truncate(0)
                if damaged:
                    raise
                damaged = True

    def _append(self, file: BinaryIO, folder: Path, deadline: Deadline) -> None:
        from minio.error import S3Error

        start = _size(file) if _size(file) < self.size else 0
        condition = {"If-Match": f'"{self.etag}"'}
        try:
            response = self.client.get_object(self.bucket, self.key, offset=start, request_headers=condition)
        except S3Error as error:
            if error.code in ("PreconditionFailed", "InvalidRange"):
                raise ChangedError("changed while it was fetched; run again") from None
            raise
        self.headers = response.headers
        file.truncate(start if response.status == 206 else 0)
        try:
            while chunk := response.read1(_CHUNK, decode_content=False):
                deadline.check()
                while chunk:
                    chunk = chunk[file.write(chunk) :]
        except OSError as error:
            raise OSError(f"{folder}: {error.strerror} after {_size(file)} of {self.size} bytes") from None
        finally:
            response.close()

    def _part_bytes(self, number: int) -> int | None:
        part = self.client.stat_object(self.bucket, self.key, extra_query_params={"partNumber": str(number)})
        return int(part.size) if part.size < self.size else None


def find(client: "Minio", bucket: str, key: str) -> RemoteObject | None:
    """An object; None when its bucket has none of this key, `InputError` when the bucket is missing."""
    from minio.error import S3Error

    try:
        found = client.stat_object(bucket, key)
    except S3Error as error:
        if error.code != "NoSuchKey":
            raise
        if not client.bucket_exists(bucket):
            raise InputError(f"s3://{bucket}/{key}: not found in the object store (NoSuchBucket)") from None
        return None
    headers = found.metadata or {}
    return RemoteObject(client=client, bucket=bucket, key=key, etag=found.etag, size=found.size, headers=headers)


def publish(client: "Minio", path: Path, bucket: str, key: str) -> None:
    """Upload a file until the store has it, twice at most; only the object itself shows whether it is stored.

    The end of an upload in parts may fail with status 200, its answer may begin with blanks, which minio's client does
    not read, and one whose answer was lost is unknown when it is sent again.

    Raises:
        CorruptError: the store has something else than what was sent.
    """
    from xml.etree.ElementTree import ParseError

    from minio.error import S3Error

    sha256, size = file_sha256(path), path.stat().st_size
    metadata = {SHA256_HEADER: sha256}
    for _ in range(_UPLOADS):
        try:
            # With more than one upload in parallel, a part's failure is raised only after all the others.
            with suppress(ParseError):
                client.fput_object(
                    bucket, key, str(path), metadata=metadata, part_size=_PART_BYTES, num_parallel_uploads=1
                )
        except S3Error as error:
            if error.code != "NoSuchUpload":
                raise
        stored = find(client, bucket, key)
        if stored is not None and (stored.headers.get(SHA256_HEADER), stored.size) == (sha256, size):
            return check_stored(path, stored.etag, stored.size, stored.headers, _PART_BYTES)
    raise CorruptError("was not stored")


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size
