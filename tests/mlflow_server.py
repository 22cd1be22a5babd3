"""A real MLflow server on a free port, with its database and artifacts below a folder."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.ports import free_ports

_START_SECONDS = 120
_ENVIRONMENT = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


@contextmanager
def mlflow_server(
    root: Path, workers: int = 2, artifacts: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Yield the address of a server that several processes answer for; it ends with the block.

    Args:
        root: folder of its database, its log and, by default, its artifacts.
        workers: number of processes.
        artifacts: where artifacts go instead, such as `s3://BUCKET/PREFIX`.
        environment: what else the server finds in its environment.
    """
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(workers), "--backend-store-uri", f"sqlite:///{root / 'server.db'}"]
    command += ["--artifacts-destination", artifacts or str(root / "server-artifacts")]
    own = {**os.environ, **_ENVIRONMENT, **(environment or {})}
    with (root / "server.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=own, start_new_session=True)
    try:
        _wait_until_it_answers(process, f"http://127.0.0.1:{port}", root / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_it_answers(process: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError(f"mlflow server does not answer: {log.read_text(encoding='utf-8')[-2000:]}")
