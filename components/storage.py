"""S3 by the minio client: list, fetch and publish. The only importer of minio.

Connection by environment, as mounted from a Secret: `S3_ENDPOINT` (`http(s)://HOST:PORT`, default AWS),
`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`. `SSL_CERT_FILE` names a private CA.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from components.errors import InputError, check

if TYPE_CHECKING:
    from minio import Minio

Result = TypeVar("Result")

_ATTEMPTS = 5
_MULTIPART_BYTES = 16 * 1024 * 1024
_MISSING = {"NoSuchKey", "NoSuchBucket", "NoSuchObject"}
_SERVER_ERROR = 500
_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}


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


def list_objects(uri: str) -> list[StoredObject]:
    """Objects below a prefix, sorted by name.

    Raises:
        InputError: bucket or prefix is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    bucket, prefix = split_uri(uri)
    start = f"{prefix}/" if prefix else ""
    listed = _retried(uri, lambda client: list(client.list_objects(bucket, start, recursive=True)))
    objects = [
        StoredObject(key=item.object_name, name=item.object_name[len(start) :], etag=item.etag, size=item.size)
        for item in listed
        if not item.is_dir
    ]
    if not objects:
        raise InputError(f"{uri}: no objects below this prefix")
    return sorted(objects, key=lambda item: item.name)


def digest(uri: str) -> str:
    """Digest of names and entity tags below a prefix: one listing, no download, any listing order."""
    lines = [f"{item.name}\t{item.etag}\t{item.size}" for item in list_objects(uri)]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def fetch_object(uri: str, path: Path) -> None:
    """Fetch one object to a local file; the client streams it and renames the file when it is complete.

    Raises:
        InputError: bucket or object is missing, or the credentials are refused.
        OSError: the store cannot be reached, or the disk is full.
    """
    bucket, key = split_uri(uri)
    check(bool(key), "uri", uri, "s3://BUCKET/KEY")
    _retried(uri, lambda client: client.fget_object(bucket, key, str(path)))


def fetch_prefix(uri: str, directory: Path) -> None:
    """Fetch all objects below a prefix into a local directory, keeping their relative names."""
    bucket, _ = split_uri(uri)
    for item in list_objects(uri):
        target = directory / _safe_name(item.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        fetch_object(f"s3://{bucket}/{item.key}", target)


def publish_directory(directory: Path, uri: str) -> None:
    """Upload every file below a directory to a prefix, large files in parts.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        publish_file(file, f"{uri.rstrip('/')}/{file.relative_to(directory).as_posix()}")


def publish_file(path: Path, uri: str) -> None:
    """Upload one file, in parts when it is large."""
    bucket, key = split_uri(uri)
    _retried(uri, lambda client: client.fput_object(bucket, key, str(path), part_size=_MULTIPART_BYTES))


def _client() -> "Minio":
    import urllib3
    from minio import Minio

    endpoint = os.environ.get("S3_ENDPOINT", "https://s3.amazonaws.com")
    parts = urlsplit(endpoint)
    check(parts.scheme in ("http", "https") and bool(parts.netloc), "S3_ENDPOINT", endpoint, "http(s)://HOST:PORT")
    pool = urllib3.PoolManager(
        timeout=urllib3.Timeout(connect=5, read=60),
        retries=False,
        cert_reqs="CERT_REQUIRED",
        ca_certs=os.environ.get("SSL_CERT_FILE"),
    )
    key, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    check(bool(key) == bool(secret), "AWS_ACCESS_KEY_ID", key, "to be set together with AWS_SECRET_ACCESS_KEY")
    return Minio(
        parts.netloc,
        access_key=key,
        secret_key=secret,
        session_token=os.environ.get("AWS_SESSION_TOKEN"),
        region=os.environ.get("AWS_REGION", "us-east-1"),
        secure=parts.scheme == "https",
        http_client=pool,
    )


def _retried(uri: str, call: "Callable[[Minio], Result]") -> Result:
    """Call with retries and back-off on network errors and 5xx; errors name the URI, never a credential."""
    import tenacity
    from minio.error import S3Error, ServerError
    from urllib3.exceptions import HTTPError

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(_ATTEMPTS),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=10),
        retry=tenacity.retry_if_exception(_is_passing),
        reraise=True,
    )
    try:
        return retrying(call, _client())
    except S3Error as error:
        if error.code in _MISSING:
            raise InputError(f"{uri}: not found in the object store ({error.code})") from None
        if error.code in _DENIED:
            raise InputError(f"{uri}: the object store refused the credentials ({error.code})") from None
        raise OSError(f"{uri}: the object store answered {error.code}") from None
    except ValueError as error:
        raise InputError(f"{uri}: {error}") from None
    except (HTTPError, ServerError) as error:
        reason = type(error).__name__
        raise OSError(f"{uri}: the object store did not answer after {_ATTEMPTS} attempts ({reason})") from None


def _is_passing(error: BaseException) -> bool:
    """Whether a later attempt may succeed: a network error, or an answer of the class 5xx."""
    from minio.error import S3Error, ServerError
    from urllib3.exceptions import HTTPError

    if isinstance(error, S3Error):
        return error.response is not None and error.response.status >= _SERVER_ERROR
    return isinstance(error, (HTTPError, ServerError))


def _safe_name(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"object {name!r}: leads out of its prefix")
    return path
