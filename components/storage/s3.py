"""S3 by the minio client: list, fetch and publish.

Connection by environment, see `components.storage.connection`; limits and retries, see `components.storage.network`.
Every function raises `InputError` when a URI is wrong, something is not found, or the credentials are refused, and
`OSError` when the store cannot be reached, a disk is full, or what arrives or was stored is damaged.
"""

import hashlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from urllib3.exceptions import HTTPError

from components.artifacts import file_sha256, new_directory
from components.errors import InputError, check
from components.storage.addresses import S3, is_s3
from components.storage.checksums import SHA256_HEADER, CorruptError
from components.storage.connection import connect, settings
from components.storage.network import CONNECTIONS, UnreachableError, failure, way
from components.storage.transfer import ChangedError, RemoteObject, find, publish

if TYPE_CHECKING:
    from minio import Minio

Objects = list[RemoteObject]
"""Objects of a listing."""

_CHANGES = 3
_REFUSALS = {
    "not found in the object store": ("NoSuchKey", "NoSuchBucket", "NoSuchObject"),
    "the object store refused the credentials": (
        *("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"),
    ),
    "the bucket is not in the region of AWS_REGION": (
        *("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"),
    ),
    "the name belongs to somebody else": ("BucketAlreadyExists",),
}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://BUCKET/KEY`; the key may be empty."""
    bucket, _, key = uri[len(S3) :].partition("/")
    check(is_s3(uri) and bool(bucket), "uri", uri, "s3://BUCKET/KEY")
    return bucket, key.strip("/")


def bucket_of(uri: str) -> str:
    """Bucket of `s3://BUCKET`."""
    bucket, _, key = uri[len(S3) :].partition("/")
    check(is_s3(uri) and bool(bucket) and not key, "bucket", uri, "s3://BUCKET")
    return bucket


def bucket_exists(bucket: str) -> bool:
    """Whether there is a bucket of this name that may be read."""
    with _store(f"s3://{bucket}") as client:
        return bool(client.bucket_exists(bucket))


def create_bucket(bucket: str) -> bool:
    """Create a bucket unless it is there, and return whether it was created."""
    from minio.error import S3Error

    check(bool(_BUCKET.fullmatch(bucket)), "bucket", bucket, "3 to 63 lower-case letters, digits, '-' and '.'")
    with _store(f"s3://{bucket}") as client:
        if client.bucket_exists(bucket):
            return False
        try:
            client.make_bucket(bucket)
        except S3Error as error:
            if error.code == "BucketAlreadyOwnedByYou":
                return False
            raise
        return True


def list_objects(uri: str) -> Objects:
    """Objects below a prefix, sorted by name."""
    bucket, prefix = split_uri(uri)
    start = f"{prefix}/" if prefix else ""
    with _store(uri) as client:
        listed = [item for item in client.list_objects(bucket, start, recursive=True) if not item.is_dir]
    if not listed:
        raise InputError(f"{uri}: no objects below this prefix")
    objects = []
    for item in listed:
        key, name = item.object_name, item.object_name[len(start) :]
        found = RemoteObject(client=client, bucket=bucket, key=key, name=name, etag=item.etag, size=item.size)
        objects.append(found)
    return sorted(objects, key=lambda item: item.name)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """An object in a listing."""

    name: str
    """Key relative to the prefix that was listed."""
    size: int
    modified: datetime


def listing(uri: str) -> Iterator[Listed]:
    """Objects below a prefix with their age, none where there are none; the listing is read while it is consumed."""
    bucket, prefix = split_uri(uri)
    start = f"{prefix}/" if prefix else ""
    with _store(uri) as client:
        for item in client.list_objects(bucket, start, recursive=True):
            if not item.is_dir:
                modified = item.last_modified or datetime.now(UTC)
                yield Listed(name=item.object_name[len(start) :], size=item.size or 0, modified=modified)


def digest(uri: str) -> str:
    """Digest of names, sizes and entity tags below a prefix: one listing, no download, any listing order.

    Another content has another digest. The same content has another one too when it is uploaded again in parts of
    another size, because the entity tag of such an object depends on its parts: that trains again, and is not wrong.
    """
    return digest_of(list_objects(uri))


def digest_of(objects: Iterable[RemoteObject]) -> str:
    """Digest of some objects below a prefix, in the order of their names; see `digest`."""
    lines = [f"{item.name}\t{item.etag}\t{item.size}" for item in objects]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def stored_sha256(uri: str) -> str | None:
    """The sha256 that `publish_file` recorded with an object; None when there is no object, or no record."""
    with _store(uri) as client:
        found = find(client, *_bucket_and_key(uri))
    return None if found is None else found.headers.get(SHA256_HEADER)


def object_exists(uri: str) -> bool:
    """Whether there is an object of this key."""
    with _store(uri) as client:
        return find(client, *_bucket_and_key(uri)) is not None


def read_object_sha256(uri: str) -> str:
    """The sha256 of an object's bytes, all of which are read; `stored_sha256` is what was once recorded."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "object"
        fetch_object(uri, path)
        return file_sha256(path)


def remove_prefix(uri: str) -> None:
    """Delete all objects below a prefix; the prefix must not be empty, so that no bucket is emptied by mistake."""
    bucket, key = _bucket_and_key(uri)
    with _store(uri) as client:
        for item in list(client.list_objects(bucket, f"{key}/", recursive=True)):
            client.remove_object(bucket, item.object_name)


def fetch_object(uri: str, path: Path) -> None:
    """Fetch one object to a local file, which appears when it is complete and its checksum is right.

    What an interrupted fetch left beside the file is continued, unless the object has changed since.
    """
    bucket, key = _bucket_and_key(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _store(uri) as client:
        for _ in range(_CHANGES):
            source = find(client, bucket, key)
            if source is None:
                raise InputError(f"{uri}: not found in the object store (NoSuchKey)")
            with suppress(ChangedError):
                return source.fetch(path)
        raise OSError(f"{uri}: changed {_CHANGES} times while it was fetched")


def fetch_prefix(uri: str, directory: Path) -> str:
    """Fetch all objects below a prefix to a new directory, keeping their relative names, and return their `digest`.

    The directory appears when all objects are there, as they were when they were listed.
    """
    objects = list_objects(uri)
    fetch_objects(objects, directory)
    return digest_of(objects)


def fetch_objects(objects: Sequence[RemoteObject], directory: Path) -> None:
    """Fetch listed objects as `fetch_prefix` does."""
    _check_paths([item.name for item in objects])
    with new_directory(directory) as partial, ThreadPoolExecutor(CONNECTIONS) as threads:

        def fetch_one(item: RemoteObject) -> None:
            target = partial / item.name
            target.parent.mkdir(parents=True, exist_ok=True)
            with _named(f"s3://{item.bucket}/{item.key}"):
                item.fetch(target)

        list(threads.map(fetch_one, objects))  # after a failure none that waits is begun


def publish_directory(directory: Path, uri: str) -> None:
    """Upload every file below a directory to a prefix; see `publish_file`."""
    bucket, prefix = split_uri(uri)
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    with _store(uri) as client, ThreadPoolExecutor(CONNECTIONS) as threads:

        def publish_one(path: Path) -> None:
            key = f"{prefix}/{path.relative_to(directory).as_posix()}".lstrip("/")
            with _named(f"s3://{bucket}/{key}"):
                publish(client, path, bucket, key)

        list(threads.map(publish_one, files))


def publish_file(path: Path, uri: str) -> None:
    """Upload one file, in parts of 16 MiB when it is larger, with its sha256 as user metadata."""
    with _store(uri) as client:
        publish(client, path, *_bucket_and_key(uri))


def _bucket_and_key(uri: str) -> tuple[str, str]:
    bucket, key = split_uri(uri)
    check(bool(key), "uri", uri, "s3://BUCKET/KEY")
    return bucket, key


def _check_paths(names: Sequence[str]) -> None:
    """Raise `InputError` unless every name is the path of a file below a folder."""
    folders = {parent for name in names for parent in PurePosixPath(name).parents}
    for name in names:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or path.as_posix() != name:
            raise InputError(f"object {name!r}: leads out of its prefix, or is no path of a file")
        if path in folders:
            raise InputError(f"object {name!r}: there are objects below it, so it cannot be a file")


@contextmanager
def _store(uri: str) -> "Iterator[Minio]":
    """Yield a client whose errors name the URI."""
    with _named(uri):
        yield connect()


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Turn the client's errors into ours, which name the URI and never a credential."""
    from minio.error import InvalidResponseError, S3Error, ServerError

    try:
        yield
    except S3Error as error:
        for meaning, codes in _REFUSALS.items():
            if error.code in codes:
                raise InputError(f"{uri}: {meaning} ({error.code})") from None
        raise OSError(f"{uri}: the object store answered {error.code}") from None
    except (InvalidResponseError, ServerError) as error:
        status = error.status_code if isinstance(error, ServerError) else error._code
        through = way(settings().endpoint)
        if status == 407:
            raise OSError(f"{uri}: the object store is not reached{through}, which refuses (HTTP 407)") from None
        message = f"the answer{through} is not that of an object store (HTTP {status}); see S3_ENDPOINT"
        raise OSError(f"{uri}: {message}") from None
    except HTTPError as error:
        raise OSError(f"{uri}: the object store {failure(error, settings().endpoint)}") from None
    except UnreachableError as error:
        raise OSError(f"{uri}: the object store {error}") from None
    except (CorruptError, ChangedError) as error:
        raise OSError(f"{uri}: {error}") from None
    except ValueError as error:  # a key that minio refuses
        raise error if isinstance(error, InputError) else InputError(f"{uri}: {error}") from None
