"""How the object store is reached, by environment; credentials also from a mounted Secret.

`S3_ENDPOINT` (`http(s)://HOST:PORT`, default AWS), `AWS_REGION`, `S3_ADDRESSING` (`auto`, `path`, `virtual`),
`S3_CA_FILE` (PEM file of a private CA, trusted besides the system's). Credentials are `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY` and, when they are temporary, `AWS_SESSION_TOKEN`: variables, or files of these names, or
`accesskey` and `secretkey` as Kubeflow's Secret has them, in the directory `S3_CREDENTIALS_DIR`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from components.errors import InputError, check
from components.task_environment import S3_SECRET, missing

AUTO, PATH, VIRTUAL = "auto", "path", "virtual"

_FILES = {
    "AWS_ACCESS_KEY_ID": ("AWS_ACCESS_KEY_ID", "accesskey"),
    "AWS_SECRET_ACCESS_KEY": ("AWS_SECRET_ACCESS_KEY", "secretkey"),
    "AWS_SESSION_TOKEN": ("AWS_SESSION_TOKEN",),
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the object store is reached."""

    host: str
    """`HOST` or `HOST:PORT`."""
    secure: bool
    """Whether by TLS."""
    region: str
    """Region that requests are signed for."""
    addressing: str
    """`path` (HOST/BUCKET), `virtual` (BUCKET.HOST), or `auto`: virtual for AWS, path for all others."""
    ca_file: str | None
    """PEM file of a private CA."""
    access_key: str | None = field(repr=False)
    """None for anonymous access."""
    secret_key: str | None = field(repr=False)
    """Set together with the access key."""
    session_token: str | None = field(repr=False)
    """Of temporary credentials."""


def settings() -> Settings:
    """The settings of the environment.

    Raises:
        InputError: a value is not what is expected; credentials are never in the message.
    """
    endpoint = urlsplit(os.environ.get("S3_ENDPOINT", "https://s3.amazonaws.com"))
    _check_endpoint(endpoint.scheme, endpoint.netloc, endpoint.path, endpoint.query)
    addressing = os.environ.get("S3_ADDRESSING", AUTO)
    check(addressing in (AUTO, PATH, VIRTUAL), "S3_ADDRESSING", addressing, f"{AUTO}, {PATH} or {VIRTUAL}")
    credentials = {name: _credential(name) for name in _FILES}
    key, secret = credentials["AWS_ACCESS_KEY_ID"], credentials["AWS_SECRET_ACCESS_KEY"]
    if bool(key) != bool(secret):
        given, absent = list(_FILES)[:2] if key else list(_FILES)[1::-1]
        raise InputError(f"{absent}: is missing, expected together with {given}")
    if not key:
        _check_anonymous()
    return Settings(
        host=endpoint.netloc,
        secure=endpoint.scheme == "https",
        region=os.environ.get("AWS_REGION") or "us-east-1",
        addressing=addressing,
        ca_file=os.environ.get("S3_CA_FILE"),
        access_key=key,
        secret_key=secret,
        session_token=credentials["AWS_SESSION_TOKEN"],
    )


def _check_endpoint(scheme: str, host: str, path: str, query: str) -> None:
    shown = f"{scheme}://{host.rpartition('@')[2]}" if scheme else os.environ["S3_ENDPOINT"]
    valid = scheme in ("http", "https") and bool(host) and path in ("", "/") and not query and "@" not in host
    check(valid, "S3_ENDPOINT", shown, "http(s)://HOST:PORT, without credentials")


def _check_anonymous() -> None:
    """Without credentials access is anonymous, but not where some were to be there."""
    if name := os.environ.get(S3_SECRET):
        raise missing("Secret", name, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "cluster.s3_secret")
    folder = os.environ.get("S3_CREDENTIALS_DIR")
    files = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or accesskey and secretkey"
    check(not folder, "S3_CREDENTIALS_DIR", folder, f"a directory with the files {files}, not empty")


def _credential(name: str) -> str | None:
    folder = os.environ.get("S3_CREDENTIALS_DIR")
    if not folder:
        return os.environ.get(name) or None
    check(Path(folder).is_dir(), "S3_CREDENTIALS_DIR", folder, "a directory with a file for each key")
    files = [path for path in (Path(folder) / file for file in _FILES[name]) if path.is_file()]
    return files[0].read_text(encoding="utf-8").strip() or None if files else None
