"""A real Docker engine with the built images, an S3 server, a tracking server in its container, and a line's runs."""

import contextlib
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from components import __version__
from images import engine
from images.build import ROOT
from pipelines.lines.demo import write_demo_line
from pipelines.local.workdir import Workdir
from tests.ports import free_ports
from tests.s3_server import BUCKET, S3Server

TEST_DATA = os.environ.get("VIGIL_TEST_DATA", "")
"""A class folder in the MVTec layout; the demo's textures without it."""
PYTHON_IMAGES = ("vigil-python-cli", "vigil-python-generation", "vigil-python-detection")
IMAGES = (*PYTHON_IMAGES, "vigil-mlflow", "vigil-serving")
MAIN = "from pipelines.cli import main; main()"
MAIN_ASKING_LATE = f"""
import time
from docker.models.containers import Container
ask = Container.wait
Container.wait = lambda container: (time.sleep(2), ask(container))[1]
{MAIN}"""
"""The command line, but KFP asks for a container's exit code when the engine has removed it."""
ENGINE = ("DOCKER", "DOCKER_HOST", "DOCKER_BUILDKIT", "BASE_IMAGE", "VIGIL_BUILD_NETWORK", "VIGIL_PIP_EXTRA_INDEX")
"""What an engine that is already there is described by."""
BUILD_SECONDS = 2400
BUILD_DISK = 20_000_000_000
"""Bytes that the images, the layers of their builds and what the tests save of them take at most."""
RUN_SECONDS = 900
START_SECONDS = 180


def image_name(name: str) -> str:
    return f"vigil/{name}:{__version__}"


@dataclass(frozen=True, kw_only=True)
class Docker:
    """The client of an engine."""

    environment: dict[str, str]

    def __call__(self, *arguments: str, check: bool = True, variables: Mapping[str, str] | None = None) -> str:
        """Standard output of a command of the client."""
        done = subprocess.run(
            [self.environment["DOCKER"], *arguments],
            env={**os.environ, **self.environment, **(variables or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{arguments}: {done.stderr}"
        return done.stdout

    def logs(self, name: str) -> str:
        """All that a container has printed."""
        command = [self.environment["DOCKER"], "logs", name]
        own = {**os.environ, **self.environment}
        return subprocess.run(
            command, env=own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True
        ).stdout

    def inspect(self, name: str) -> dict[str, Any]:
        (found,) = json.loads(self("inspect", name))
        return dict(found)


@pytest.fixture(scope="session")
def docker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Docker]:
    """The engine of `DOCKER_HOST`, else one of the tests' own, removed with its images when they end."""
    if "DOCKER_HOST" in os.environ:
        yield Docker(
            environment={"DOCKER": "docker"} | {name: os.environ[name] for name in ENGINE if name in os.environ}
        )
        return
    if reason := engine.missing():
        pytest.skip(reason)
    folder = ROOT / "build" / "test-engine"
    free = shutil.disk_usage(ROOT).free
    assert free > BUILD_DISK, f"{ROOT}: got {free / 1e9:.1f} GB of free disk, expected {BUILD_DISK / 1e9:.0f} GB"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        try:
            address = stack.enter_context(engine.engine(folder))
        except RuntimeError as error:
            pytest.skip(str(error))
        yield Docker(environment=engine.environment(address))


@pytest.fixture(scope="session")
def built(docker: Docker) -> str:
    """What the build of all images printed."""
    done = subprocess.run(
        [sys.executable, "-m", "images.build", "--replace"],
        cwd=ROOT,
        env={**os.environ, **docker.environment},
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    print(done.stdout)
    return done.stdout


@dataclass(frozen=True, kw_only=True)
class Services:
    """The servers of a line, and the environment by which they are reached."""

    secret: str
    environment: dict[str, str]
    container: str
    """Name of MLflow's container."""
    database: Path
    """Folder of MLflow's database."""


@pytest.fixture(scope="session")
def services(docker: Docker, built: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """An S3 server with random keys, and MLflow in its image, whose artifacts go to that server."""
    secret, folder = secrets.token_hex(20), tmp_path_factory.mktemp("services")
    key = f"inspector-{secrets.token_hex(8)}"
    store = S3Server(folder / "s3", secret=secret, access_key=key)
    (folder / "mlflow").mkdir()
    (folder / "mlflow").chmod(0o777)
    port = free_ports(1)[0]
    name = f"vigil-mlflow-{port}"
    try:
        store.start()
        credentials = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        start_tracking_server(docker, name, folder / "mlflow", port, store.endpoint, credentials)
        tracking = {"S3_ENDPOINT": store.endpoint, "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}"}
        yield Services(secret=secret, environment=credentials | tracking, container=name, database=folder / "mlflow")
    finally:
        docker("rm", "--force", name)
        store.kill()


def start_tracking_server(
    docker: Docker, name: str, data: Path, port: int, store: str, credentials: dict[str, str]
) -> None:
    """Start MLflow's server in its image, and return when it answers."""
    arguments = [
        *(
            "run",
            "--detach",
            "--name",
            name,
            "--network",
            "host",
            "--read-only",
            "--tmpfs",
            "/tmp",
            "--cap-drop",
            "ALL",
        ),
        *("--volume", f"{data}:/data", "--env", f"MLFLOW_S3_ENDPOINT_URL={store}"),
        *("--env", "AWS_ACCESS_KEY_ID", "--env", "AWS_SECRET_ACCESS_KEY"),
        *("--env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"),
        image_name("vigil-mlflow"),
        *("mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", "sqlite:////data/mlflow.db", "--artifacts-destination", f"s3://{BUCKET}/mlflow"),
    ]
    docker(*arguments, variables=credentials)
    wait_until_it_answers(docker, name, port)


def wait_until_it_answers(docker: Docker, name: str, port: int) -> None:
    import urllib3

    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if urllib3.request("GET", f"http://127.0.0.1:{port}/health", retries=False, timeout=2).status == 200:
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.5)
    pytest.fail(f"MLflow's server did not start: {docker.logs(name)}")


@pytest.fixture(scope="session")
def line_file(services: Services, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small line on a real class, its data set in the S3 server."""
    folder = tmp_path_factory.mktemp("line")
    data = Path(TEST_DATA) if TEST_DATA else write_demo_line(folder / "demo").parent / "brick"
    uri = f"s3://{BUCKET}/data/{data.name}"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in services.environment.items():
            patch.setenv(name, value)
        from components.storage.s3 import publish_directory

        publish_directory(data, uri)
    content = {
        "name": f"containers-{data.name}",
        "object": data.name,
        "dataset": {"uri": uri, "shots": 1, "image_size": 128},
        "augmentation": {"images": 4},
        "vqgan": {"iterations": 2, "images": 4, "steps": 4},
        "training_sets": ["none", "generated"],
    }
    path = folder / "line.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(scope="session")
def start(docker: Docker, services: Services) -> Start:
    """Start `vigil` with arguments, in the environment of the servers and the engine."""

    def vigil(*arguments: str | Path, main: str = MAIN, **variables: str) -> "subprocess.Popen[str]":
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "S3_", "VIGIL_"))}
        return subprocess.Popen(
            [sys.executable, "-c", main, *map(str, arguments)],
            env={**own, **docker.environment, **services.environment, "NO_COLOR": "1", **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return vigil


@dataclass(frozen=True, kw_only=True)
class ContainerRun:
    """A run in containers."""

    workdir: Workdir
    code: int
    out: str
    err: str
    containers: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What the engine reported of the containers that were seen, by id."""


def watch(docker: Docker, process: "subprocess.Popen[str]") -> dict[str, dict[str, Any]]:
    """Inspect the containers of runs until the process ends, which it must in time."""
    seen: dict[str, dict[str, Any]] = {}
    deadline = time.monotonic() + RUN_SECONDS
    while process.poll() is None:
        if time.monotonic() > deadline:
            process.kill()
            _, err = process.communicate()
            pytest.fail(f"the run did not end in {RUN_SECONDS} s:\n{err[-3000:]}")
        for container in docker("ps", "--no-trunc", "--quiet", "--filter", "label=vigil.run").split():
            if container not in seen and (found := docker("inspect", container, check=False)).strip() != "[]":
                seen[container] = json.loads(found)[0]
        time.sleep(0.3)
    return seen


@pytest.fixture(scope="session")
def interrupted(
    docker: Docker, line_file: Path, start: Start, tmp_path_factory: pytest.TempPathFactory
) -> ContainerRun:
    """A run in containers that was interrupted while it fine-tuned."""
    workdir = Workdir(root=tmp_path_factory.mktemp("containers") / "run")
    process = start("run", line_file, "--workdir", workdir.root, "--runner", "docker")
    assert process.stdout is not None
    printed = ""
    for text in process.stdout:
        printed += text
        if text.startswith("vqgan: started"):
            process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=RUN_SECONDS)
    assert docker("ps", "--quiet", "--filter", "label=vigil.run") == ""
    return ContainerRun(workdir=workdir, code=process.returncode, out=printed, err=err)


@pytest.fixture(scope="session")
def finished(docker: Docker, line_file: Path, start: Start, interrupted: ContainerRun) -> ContainerRun:
    """The interrupted run, gone on to its end and published."""
    workdir, published = interrupted.workdir, f"s3://{BUCKET}/results"
    process = start("run", line_file, "--workdir", workdir.root, "--runner", "docker", "--publish", published)
    seen = watch(docker, process)
    out, err = process.communicate(timeout=RUN_SECONDS)
    return ContainerRun(workdir=workdir, code=process.returncode, out=out, err=err, containers=seen)


def stages_started(text: str) -> list[str]:
    """Stages that the console shows the start of."""
    return re.findall(r"^(.+): started$", text, flags=re.MULTILINE)
