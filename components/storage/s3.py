"""S3 by the minio client: list, fetch and publish. The only importer of minio.

Connection by environment, see `components.connection`; retries and the least rate of reading, see `components.network`.
"""

import hashlib
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from components.artifacts import file_sha256, new_directory, require_directory
from components.errors import InputError, check
from components.storage import checksums, connection
from components.storage.checksums import SHA256_HEADER
from components.storage.network import CONNECTIONS, Pool, UnreachableError, tls_context
from components.storage.transfer import ChangedError, CorruptError, Opened, discard_partials, fetch, read_sha256

if TYPE_CHECKING:
    from minio import Minio
    from minio.error import S3Error

Item = TypeVar("Item")

_PART_BYTES = 16 * 1024 * 1024
_CHANGES = 3
_UPLOADS = 2
_MISSING = {"NoSuchKey", "NoSuchBucket", "NoSuchObject"}
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
_TAKEN = {"BucketAlreadyExists"}
_CHANGED = {"PreconditionFailed", "InvalidRange"}
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """One object below a prefix."""

    key: str
    """Full key in the bucket."""
    name: str
    """Key relative to the prefix that was listed."""
    etag: str
    """Entity tag; changes with the content."""
    size: int
    """Bytes."""


def is_s3(uri: str) -> bool:
    """Whether a URI names an object store."""
    return uri.startswith("s3://")


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://BUCKET/KEY`; the key may be empty.

    Raises:
        InputError: the URI has no bucket.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    check(is_s3(uri) and bool(bucket), "uri", uri, "s3://BUCKET/KEY")
    return bucket, key.strip("/")


def bucket_of(uri: str) -> str:
    """Bucket of `s3://BUCKET`.

    Raises:
        InputError: the URI has no bucket, or a key too.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    check(is_s3(uri) and bool(bucket) and not key, "bucket", uri, "s3://BUCKET")
    return bucket


def create_bucket(bucket: str) -> bool:
    """Create a bucket unless it is there, and tell whether it was created.

    Raises:
        InputError: the name is no bucket name or belongs to somebody else, or the credentials are refused.
        OSError: the store cannot be reached.
    """
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


def list_objects(uri: str) -> list[StoredObject]:
    """Objects below a prefix, sorted by name.

    Raises:
        InputError: bucket or prefix is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    bucket, prefix = split_uri(uri)
    start = f"{prefix}/" if prefix else ""
    with _store(uri) as client:
        listed = list(client.list_objects(bucket, start, recursive=True))
    objects = [
        StoredObject(key=item.object_name, name=item.object_name[len(start) :], etag=item.etag, size=item.size)
        for item in listed
        if not item.is_dir
    ]
    if not objects:
        raise InputError(f"{uri}: no objects below this prefix")
    return sorted(objects, key=lambda item: item.name)


def digest(uri: str) -> str:
    """Digest of names, sizes and entity tags below a prefix: one listing, no download, any listing order.

    Another content has another digest. The same content has another one too when it is uploaded again in parts of
    another size, because the entity tag of such an object depends on its parts: that trains again, and is not wrong.
    """
    return _digest(list_objects(uri))


def stored_sha256(uri: str) -> str | None:
    """The sha256 that `publish_file` recorded with an object; None when there is no object, or no record.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    headers = _headers(uri)
    return None if headers is None else headers.get(SHA256_HEADER)


def read_object_sha256(uri: str) -> str:
    """The sha256 of an object's bytes, all of which are read; `stored_sha256` tells what was once recorded.

    Raises:
        InputError: bucket or object is missing, or the credentials are refused.
        OSError: the store cannot be reached, or the object changes while it is read.
    """
    bucket, key = split_uri(uri)
    check(bool(key), "uri", uri, "s3://BUCKET/KEY")
    with _store(uri) as client:
        return read_sha256(_found(client, bucket, key))


def object_exists(uri: str) -> bool:
    """Whether there is an object of this key.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    return _headers(uri) is not None


def remove_prefix(uri: str) -> None:
    """Delete all objects below a prefix; the prefix must not be empty, so that no bucket is emptied by mistake.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    bucket, key = split_uri(uri)
    check(bool(key), "uri", uri, "s3://BUCKET/PREFIX")
    with _store(uri) as client:
        for item in list(client.list_objects(bucket, f"{key}/", recursive=True)):
            client.remove_object(bucket, item.object_name)


def fetch_object(uri: str, path: Path) -> None:
    """Fetch one object to a local file, which appears when it is complete and its checksum is right.

    What an interrupted fetch left beside the file is continued, unless the object has changed since.

    Raises:
        InputError: bucket or object is missing, or the credentials are refused.
        OSError: the store cannot be reached, the disk is full, or what arrives is damaged.
    """
    bucket, key = split_uri(uri)
    check(bool(key), "uri", uri, "s3://BUCKET/KEY")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _store(uri) as client:
        for _ in range(_CHANGES):
            source = _found(client, bucket, key)
            discard_partials(path, source.etag)
            try:
                return fetch(source, path, source.etag)
            except ChangedError:
                continue
        raise OSError(f"{uri}: changed {_CHANGES} times while it was fetched")


def fetch_prefix(uri: str, directory: Path) -> str:
    """Fetch all objects below a prefix to a new local directory, keeping their relative names.

    The directory appears when all objects are there, as they were when they were listed.

    Returns:
        The digest of what was fetched, as `digest` gives it.

    Raises:
        InputError: bucket or prefix is missing, the credentials are refused, or a name is no path of a file.
        OSError: the store cannot be reached, the disk is full, or what arrives is damaged or changes.
    """
    bucket, _ = split_uri(uri)
    objects = list_objects(uri)
    names = _paths(objects)
    with new_directory(directory) as partial, _store(uri) as client:
        for parent in {(partial / name).parent for name in names}:
            parent.mkdir(parents=True, exist_ok=True)

        def fetch_one(item: StoredObject) -> None:
            source = _Source(client=client, bucket=bucket, key=item.key, etag=item.etag, size=item.size)
            with _named(f"s3://{bucket}/{item.key}"):
                fetch(source, partial / item.name, item.etag)

        _side_by_side(fetch_one, objects)
    return _digest(objects)


@contextmanager
def local_folder(uri: str, what: str, expected_digest: str = "") -> Iterator[Path]:
    """A folder itself, or a copy of what lies in an object store for the block's time.

    Args:
        uri: local path or `s3://BUCKET/PREFIX`.
        what: what the folder is to the user, for the message.
        expected_digest: digest that the contents of an object store must have, or empty.

    Raises:
        InputError: there is no such folder or prefix.
        RuntimeError: the contents of the object store have another digest.
    """
    if not is_s3(uri):
        require_directory(Path(uri), what)
        yield Path(uri)
        return
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory) / "fetched"
        found = fetch_prefix(uri, folder)
        if expected_digest and found != expected_digest:
            raise RuntimeError(f"{uri}: the data set changed after the run began; run again")
        yield folder


def publish_directory(directory: Path, uri: str) -> None:
    """Upload every file below a directory to a prefix.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached, or stores something else than what was sent.
    """
    bucket, prefix = split_uri(uri)
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    with _store(uri) as client:

        def publish_one(path: Path) -> None:
            key = f"{prefix}/{path.relative_to(directory).as_posix()}".lstrip("/")
            with _named(f"s3://{bucket}/{key}"):
                _publish(client, path, bucket, key)

        _side_by_side(publish_one, files)


def publish_file(path: Path, uri: str) -> None:
    """Upload one file, in parts of 16 MiB when it is larger, with its sha256 as user metadata.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached, or stores something else than what was sent.
    """
    bucket, key = split_uri(uri)
    check(bool(key), "uri", uri, "s3://BUCKET/KEY")
    with _store(uri) as client:
        _publish(client, path, bucket, key)


def _publish(client: "Minio", path: Path, bucket: str, key: str) -> None:
    """Upload a file until the store has it, twice at most."""
    sha256, size = file_sha256(path), path.stat().st_size
    for _ in range(_UPLOADS):
        _upload(client, path, bucket, key, sha256)
        stored = _found_or_none(client, bucket, key)
        if stored is not None and (stored.headers.get(SHA256_HEADER), stored.size) == (sha256, size):
            return checksums.check_stored(path, stored.etag, stored.size, stored.headers, _PART_BYTES)
    raise CorruptError("was not stored")


def _upload(client: "Minio", path: Path, bucket: str, key: str, sha256: str) -> None:
    """Upload a file; only the object itself tells whether it is stored.

    The end of an upload in parts may fail with status 200, its answer may begin with blanks, which minio's client does
    not read, and one whose answer was lost is unknown when it is sent again.
    """
    from xml.etree.ElementTree import ParseError

    from minio.error import S3Error

    try:
        with suppress(ParseError):
            client.fput_object(
                bucket,
                key,
                str(path),
                metadata={SHA256_HEADER: sha256},
                part_size=_PART_BYTES,
                num_parallel_uploads=1,  # with more, a part's failure is told only after all the others
            )
    except S3Error as error:
        if error.code != "NoSuchUpload":
            raise


@dataclass(kw_only=True)
class _Source:
    """An object as the source of a transfer."""

    client: "Minio"
    bucket: str
    key: str
    etag: str
    size: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def open(self, offset: int) -> Opened | None:
        from minio.error import S3Error

        if offset == self.size and self.headers:
            return None
        start = offset if offset < self.size else 0
        condition = {"If-Match": f'"{self.etag}"'}
        try:
            response = self.client.get_object(self.bucket, self.key, offset=start, request_headers=condition)
        except S3Error as error:
            if error.code in _CHANGED:
                raise ChangedError from None
            raise
        self.headers = response.headers
        return Opened(response=response, offset=start if response.status == 206 else 0, size=self.size)

    def check(self, path: Path) -> None:
        checksums.check_fetched(path, self.etag, self.size, self.headers, self._part_bytes)

    def _part_bytes(self, number: int) -> int | None:
        part = self.client.stat_object(self.bucket, self.key, extra_query_params={"partNumber": str(number)})
        return int(part.size) if part.size < self.size else None


def _headers(uri: str) -> Mapping[str, str] | None:
    """Headers of an object; None when there is none."""
    bucket, key = split_uri(uri)
    check(bool(key), "uri", uri, "s3://BUCKET/KEY")
    with _store(uri) as client:
        found = _found_or_none(client, bucket, key)
    return None if found is None else found.headers


def _found_or_none(client: "Minio", bucket: str, key: str) -> _Source | None:
    from minio.error import S3Error

    try:
        return _found(client, bucket, key)
    except S3Error as error:
        if error.code == "NoSuchKey":
            return None
        raise


def _found(client: "Minio", bucket: str, key: str) -> _Source:
    from minio.error import S3Error

    try:
        found = client.stat_object(bucket, key)
    except S3Error as error:
        if error.code == "NoSuchKey" and not client.bucket_exists(bucket):
            raise InputError(f"s3://{bucket}/{key}: not found in the object store (NoSuchBucket)") from None
        raise
    return _Source(
        client=client, bucket=bucket, key=key, etag=found.etag, size=found.size, headers=found.metadata or {}
    )


def _digest(objects: Iterable[StoredObject]) -> str:
    lines = [f"{item.name}\t{item.etag}\t{item.size}" for item in objects]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _paths(objects: Iterable[StoredObject]) -> list[PurePosixPath]:
    """Relative paths of objects.

    Raises:
        InputError: a name is no path of a file, or is that of a file and of a folder.
    """
    paths = [_safe_name(item.name) for item in objects]
    folders = {parent for path in paths for parent in path.parents}
    for path in paths:
        if path in folders:
            raise InputError(f"object {path.as_posix()!r}: there are objects below it, so it cannot be a file")
    return paths


def _safe_name(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.as_posix() != name:
        raise InputError(f"object {name!r}: leads out of its prefix, or is no path of a file")
    return path


def _side_by_side(call: Callable[[Item], None], items: Iterable[Item]) -> None:
    """Call for each item in a few threads; after a failure no further one is begun."""
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        futures = [threads.submit(call, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise


@contextmanager
def _store(uri: str) -> "Iterator[Minio]":
    """Yield a client whose errors name the URI."""
    with _named(uri):
        yield _client()


def _client() -> "Minio":
    from minio import Minio

    settings = connection.settings()
    client = Minio(
        settings.host,
        access_key=settings.access_key,
        secret_key=settings.secret_key,
        session_token=settings.session_token,
        region=settings.region,
        secure=settings.secure,
        http_client=Pool(tls_context(settings.ca_file) if settings.secure else None),
    )
    if settings.addressing == connection.VIRTUAL:
        client.enable_virtual_style_endpoint()
    elif settings.addressing == connection.PATH:
        client.disable_virtual_style_endpoint()
    return client


@contextmanager
def _named(uri: str) -> Iterator[None]:
    """Turn the client's errors into ours, which name the URI and never a credential."""
    from minio.error import InvalidResponseError, S3Error

    try:
        yield
    except S3Error as error:
        raise _translated(uri, error) from None
    except InvalidResponseError:
        raise OSError(f"{uri}: the answer is not that of an object store; see S3_ENDPOINT") from None
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{uri}: {error}") from None
    except UnreachableError as error:
        raise OSError(f"{uri}: the object store {error}") from None
    except CorruptError as error:
        raise OSError(f"{uri}: {error}") from None
    except ChangedError:
        raise OSError(f"{uri}: changed while it was fetched; run again") from None


def _translated(uri: str, error: "S3Error") -> Exception:
    if error.code in _MISSING:
        return InputError(f"{uri}: not found in the object store ({error.code})")
    if error.code in _DENIED:
        return InputError(f"{uri}: the object store refused the credentials ({error.code})")
    if error.code in _REGION:
        return InputError(f"{uri}: the bucket is not in the region of AWS_REGION ({error.code})")
    if error.code in _TAKEN:
        return InputError(f"{uri}: the name belongs to somebody else ({error.code})")
    return OSError(f"{uri}: the object store answered {error.code}")
