"""How the object store is reached, by environment; credentials also from a mounted Secret.

`S3_ENDPOINT` (`http(s)://HOST:PORT`, default AWS), `S3_REGION` or else `AWS_REGION`, `S3_ADDRESSING` (`auto`, `path`,
`virtual`), `S3_CA_FILE` (PEM file of a private CA, trusted besides the system's). Credentials are `AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY` and, when they are temporary, `AWS_SESSION_TOKEN`: variables, or files of these names, or
`accesskey` and `secretkey` as Kubeflow's Secret has them, in the directory `S3_CREDENTIALS_DIR`.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.errors import InputError, check
from components.storage.network import pool
from components.task_environment import S3_CREDENTIALS_DIR, S3_REGION, S3_SECRET, missing

if TYPE_CHECKING:
    from minio import Minio

_KEY, _SECRET, _TOKEN = "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_FILES = {_KEY: (_KEY, "accesskey"), _SECRET: (_SECRET, "secretkey"), _TOKEN: (_TOKEN,)}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the object store is reached: without keys anonymously, else with both."""

    host: str
    """`HOST` or `HOST:PORT`."""
    secure: bool
    region: str
    addressing: str
    """`path` (HOST/BUCKET), `virtual` (BUCKET.HOST), or `auto`: virtual for AWS, path for all others."""
    ca_file: str | None
    access_key: str | None = field(repr=False)
    secret_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)

    @property
    def endpoint(self) -> str:
        """`http(s)://HOST:PORT`."""
        return f"{'https' if self.secure else 'http'}://{self.host}"


def settings() -> Settings:
    """The settings of the environment; an `InputError` about them never shows credentials."""
    text = os.environ.get("S3_ENDPOINT", "https://s3.amazonaws.com")
    scheme, host, path, query, _ = urlsplit(text)
    shown = f"{scheme}://{host.rpartition('@')[2]}" if scheme else text
    valid = scheme in ("http", "https") and bool(host) and path in ("", "/") and not query and "@" not in host
    check(valid, "S3_ENDPOINT", shown, "http(s)://HOST:PORT, without credentials")
    addressing = os.environ.get("S3_ADDRESSING", "auto")
    check(addressing in ("auto", "path", "virtual"), "S3_ADDRESSING", addressing, "auto, path or virtual")
    access_key, secret_key, session_token = (_credential(name) for name in _FILES)
    if bool(access_key) != bool(secret_key):
        given, absent = (_KEY, _SECRET) if access_key else (_SECRET, _KEY)
        raise InputError(f"{absent}: is missing, expected together with {given}")
    if not access_key:
        if name := os.environ.get(S3_SECRET):
            raise missing("Secret", name, f"{_KEY} and {_SECRET}", "cluster.s3_secret")
        files = f"{_KEY} and {_SECRET}, or accesskey and secretkey"
        folder = os.environ.get(S3_CREDENTIALS_DIR)
        check(not folder, S3_CREDENTIALS_DIR, folder, f"a directory with the files {files}, not empty")
    return Settings(
        host=host,
        secure=scheme == "https",
        region=os.environ.get(S3_REGION) or os.environ.get("AWS_REGION") or "us-east-1",
        addressing=addressing,
        ca_file=os.environ.get("S3_CA_FILE"),
        access_key=access_key,
        secret_key=secret_key,
        session_token=session_token,
    )


def connect() -> "Minio":
    """A client of the environment's object store; `InputError` for a wrong value of the environment."""
    from minio import Minio

    found = settings()
    client = Minio(
        found.host,
        access_key=found.access_key,
        secret_key=found.secret_key,
        session_token=found.session_token,
        region=found.region,
        secure=found.secure,
        http_client=pool(found.endpoint, found.ca_file),
    )
    if found.addressing == "virtual":
        client.enable_virtual_style_endpoint()
    elif found.addressing == "path":
        client.disable_virtual_style_endpoint()
    return client


def _credential(name: str) -> str | None:
    folder = os.environ.get(S3_CREDENTIALS_DIR)
    if not folder:
        return os.environ.get(name) or None
    check(Path(folder).is_dir(), S3_CREDENTIALS_DIR, folder, "a directory with a file for each key")
    files = [path for path in (Path(folder) / file for file in _FILES[name]) if path.is_file()]
    return files[0].read_text(encoding="utf-8").strip() or None if files else None
