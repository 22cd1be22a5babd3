"""Runs the stages of a local run in containers of the images that a cluster runs, by KFP's Docker runner.

A container sees the run's folder, the data set, named weights files and images, and the files and folders that the
services' environment names, under their own paths, the network of this machine, and nothing else of it. Its root file
system is read-only and its user is never root.
"""

import contextlib
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from components.errors import InputError, check
from components.generator.checkpoint import CHECKPOINTS
from components.stage.images import USER_ID, image
from components.storage.addresses import is_s3
from components.tracking.events import RUN_ID
from components.weights.fetch import resolve
from pipelines.lines.line import Line
from pipelines.local.processes import interruptible
from pipelines.local.workdir import Workdir

PASSED_PREFIXES = ("AWS_", "HF_", "MLFLOW_", "S3_", "VIGIL_")
PASSED_NAMES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("OMP_NUM_THREADS", "PYTHONWARNINGS", "SSL_CERT_FILE", "TOKENIZERS_PARALLELISM"),
)
"""Environment variables that a container inherits: those of the services and of the project, and these."""
READ_PATHS = (
    *("MLFLOW_TRACKING_CLIENT_CERT_PATH", "MLFLOW_TRACKING_SERVER_CERT_PATH"),
    *("S3_CA_FILE", "S3_CREDENTIALS_DIR", "SSL_CERT_FILE"),
)
"""Those of them that name a file or a folder, which is mounted into the container."""
_LABEL = "vigil.run"
_SQLITE = "sqlite:///"


@contextlib.contextmanager
def docker_runner(line: Line, folder: Workdir) -> Iterator[Any]:
    """KFP's `DockerRunner` for one run; `InputError` without engine or image, or for a path that cannot be mounted."""
    from docker.types import Mount
    from kfp import local

    def mount(path: Path, *, read_only: bool) -> Mount:
        return Mount(target=str(path), source=str(path), type="bind", read_only=read_only)

    require_images((image("generation"), image("detection")))
    cache = Path(os.environ.get("VIGIL_CACHE", folder.root / "cache")).resolve()
    written = [folder.root, cache]
    if (checkpoints := os.environ.get(CHECKPOINTS)) and not is_s3(checkpoints):
        written.append(Path(checkpoints).resolve())
    for path in (*written, folder.artifacts):
        path.mkdir(parents=True, exist_ok=True)
    if os.environ.get("MLFLOW_TRACKING_URI") == folder.tracking_uri:
        folder.database.touch()  # sqlite itself would make it for its owner alone
    with _shared(written) as user:
        yield local.DockerRunner(
            user=user,
            environment=_environment(folder, cache),
            mounts=[mount(path, read_only=False) for path in written]
            + [mount(path, read_only=True) for path in _read_paths(line)],
            labels={_LABEL: os.environ[RUN_ID]},
            network_mode="host",
            read_only=True,
            tmpfs={"/tmp": "mode=1777"},  # noqa: S108 (a mount of the container)
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )


def require_images(images: Sequence[str]) -> None:
    """Pull the images that the engine does not have; `InputError` where one cannot be pulled, or without an engine."""
    from docker.errors import APIError, ImageNotFound

    with _client() as client:
        for name in images:
            try:
                client.images.get(name)
            except ImageNotFound:
                try:
                    client.images.pull(name)
                except APIError as error:
                    hint = "`make images` builds it, VIGIL_IMAGE_REGISTRY names the registry of built ones"
                    message = f"image {name}: missing on the Docker engine, and cannot be pulled; {hint}"
                    raise InputError(message) from error


@contextlib.contextmanager
def run_containers(run_id: str) -> Iterator[Callable[[], bool]]:
    """End the containers of a run at the block's end, and at once when it is interrupted.

    Yields a function: whether a container has exited with another code than 0 since its last call. KFP reports success
    for a container that the engine removed before KFP read its exit code.
    """
    from docker.errors import APIError

    filters, since = {"label": f"{_LABEL}={run_id}"}, time.time()

    def failed() -> bool:
        nonlocal since
        start, since = since, time.time()
        with _client() as client:
            events = list(client.events(since=start, until=since, filters=filters | {"event": "die"}, decode=True))
        return any(event["Actor"]["Attributes"]["exitCode"] != "0" for event in events)

    def kill() -> None:
        with _client() as client:
            for container in client.containers.list(filters=filters, ignore_removed=True):
                with contextlib.suppress(APIError):  # it has just ended by itself
                    container.kill()

    try:
        with interruptible(kill, (signal.SIGINT, signal.SIGTERM)):
            yield failed
    finally:
        kill()


@contextlib.contextmanager
def _client() -> Iterator[Any]:
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env()
    except DockerException as error:
        raise InputError(
            f"runner docker: no Docker engine answers at {os.environ.get('DOCKER_HOST', 'its default address')}"
        ) from error
    with contextlib.closing(client):
        yield client


@contextlib.contextmanager
def _shared(written: Sequence[Path]) -> Iterator[str]:
    """Yield the user of the containers; in the block, it and this process may write each other's files.

    It is this process's user, or the images' when that is root: then the folders are handed over to that user's group.
    """
    if os.geteuid() != 0:
        yield f"{os.geteuid()}:{os.getegid()}"
        return
    for root in written:
        for path in (root, *root.rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # a database's journal comes and goes
                os.chown(path, USER_ID, USER_ID, follow_symlinks=False)
                if not path.is_symlink():
                    group = stat.S_ISGID | stat.S_IRWXG if path.is_dir() else stat.S_IRGRP | stat.S_IWGRP
                    path.chmod(path.stat().st_mode | group)
    before = os.umask(0o002)
    try:
        yield f"{USER_ID}:{USER_ID}"
    finally:
        os.umask(before)


def _environment(folder: Workdir, cache: Path) -> dict[str, str]:
    uri = os.environ.get("MLFLOW_TRACKING_URI", "")
    own = not uri.startswith(_SQLITE) or Path(uri.removeprefix(_SQLITE)).is_relative_to(folder.root)
    check(own, "MLFLOW_TRACKING_URI", uri, f"a server's address, or a database below {folder.root}, with runner docker")
    passed = {
        name: value
        for name, value in os.environ.items()
        if value and (name in PASSED_NAMES or name.startswith(PASSED_PREFIXES))
    }
    return passed | {"VIGIL_CACHE": str(cache)}


def _read_paths(line: Line) -> list[Path]:
    """Local files and folders that the stages of a line read; the stage itself reports a missing one."""
    uri = line.configs["dataset"].uri
    named = [("dataset.uri", "" if is_s3(uri) else uri)]
    named += [("detection.imagenet_dir", line.configs["detection"].imagenet_dir)]
    named += [(name, os.environ.get(name, "")) for name in READ_PATHS]
    addresses = [(key, resolve(reference).uri) for key, reference in line.named_weights()]
    named += [(key, address) for key, address in addresses if not urlsplit(address).scheme]
    for key, address in named:
        check(not address or Path(address).is_absolute(), key, address, "an absolute path with runner docker")
    return [path for path in dict.fromkeys(Path(address) for _, address in named if address) if path.exists()]
