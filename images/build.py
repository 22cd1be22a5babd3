"""Builds the container images, tagged with the project's version, and holds their sizes against the budgets."""

import contextlib
import functools
import os
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import typer
import yaml

from components import __version__
from components.images import registry
from pipelines.terminal import console

ROOT = Path(__file__).resolve().parents[1]
BUDGETS = Path(__file__).with_name("images.yaml")
_MEGABYTE = 1_000_000
_FILE = "file://"
_PORTS = range(21000, 31000)

Indexes = Annotated[
    str,
    typer.Option(
        envvar="VIGIL_PIP_EXTRA_INDEX",
        help="Further package indexes, separated by spaces: addresses, or folders, which are served meanwhile. "
        "Without any, the folders that this machine's pip is configured with.",
    ),
]


def main(
    base_image: Annotated[str, typer.Option(envvar="BASE_IMAGE")] = "python:3.11-slim",
    index: Annotated[str, typer.Option(envvar="VIGIL_PIP_INDEX", help="Package index instead of pip's own.")] = "",
    extra_index: Indexes = "",
    network: Annotated[str, typer.Option(envvar="VIGIL_BUILD_NETWORK", help="Network of the build.")] = "",
) -> None:
    """Build all images; exit code 1 when a build fails or an image is larger than its budget."""
    targets = yaml.safe_load(BUDGETS.read_text(encoding="utf-8"))
    too_large = []
    indexes = extra_index.split() or configured_folders()
    with served_indexes(indexes) as addresses:
        arguments = {"BASE_IMAGE": base_image, "PIP_INDEX_URL": index, "PIP_EXTRA_INDEX_URL": " ".join(addresses)}
        for target, image in targets.items():
            name = f"{registry()}/{image['name']}:{__version__}"
            started = time.monotonic()
            build(target, name, arguments, network or ("host" if indexes else ""))
            size = image_size(name)
            seconds = time.monotonic() - started
            console.print(f"{name}  {size:.0f} of {image['budget_mb']} MB  {seconds:.0f} s", soft_wrap=True)
            if size > image["budget_mb"]:
                too_large.append(name)
    if too_large:
        console.print(f"larger than its budget: {', '.join(too_large)}", soft_wrap=True)
        raise typer.Exit(1)


def docker() -> str:
    """The Docker client: `DOCKER` in the environment, or the first of the path."""
    return os.environ.get("DOCKER", "docker")


def build(target: str, name: str, arguments: dict[str, str], network: str) -> None:
    """Build one target of the Dockerfile under a name.

    Raises:
        RuntimeError: the build failed; the message holds the end of its output.
    """
    command = [docker(), "build", "--file", str(ROOT / "images" / "Dockerfile"), "--target", target, "--tag", name]
    given = arguments | {"VERSION": __version__, "REVISION": _revision()}
    command += [part for key, value in given.items() if value for part in ("--build-arg", f"{key}={value}")]
    command += ["--network", network] if network else []
    done = subprocess.run(
        [*command, str(ROOT)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"image {name} cannot be built:\n{done.stdout[-3000:]}")


def image_size(name: str) -> float:
    """Size of an image with all its layers, in megabytes."""
    command = [docker(), "image", "inspect", "--format", "{{.Size}}", name]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout) / _MEGABYTE


def configured_folders() -> list[str]:
    """Folders that this machine's pip looks at as package indexes, which a build cannot see by itself."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.extra-index-url"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [index for index in done.stdout.split() if index.startswith(_FILE)]


@contextlib.contextmanager
def served_indexes(indexes: Sequence[str]) -> Iterator[list[str]]:
    """Addresses of package indexes; those that are folders are served on the loopback interface in the block."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(_served(Path(index.removeprefix(_FILE)))) if _is_folder(index) else index
            for index in indexes
        ]


def _is_folder(index: str) -> bool:
    return index.startswith(_FILE) or Path(index).is_dir()


@contextlib.contextmanager
def _served(folder: Path) -> Iterator[str]:
    """Serve an index with the folder around it, where its links usually lead."""
    with _server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{folder.name}"
        server.shutdown()
        thread.join()


def _server(folder: Path) -> ThreadingHTTPServer:
    """A server on a port of the folder's own: addresses are build arguments, and a new one makes every layer anew."""
    handler = functools.partial(_QuietHandler, directory=str(folder.resolve().parent))
    port = _PORTS[zlib.crc32(str(folder.resolve()).encode()) % len(_PORTS)]
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:  # in use, as by a build beside this one
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _revision() -> str:
    """Commit of the checkout; empty outside of one."""
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    typer.run(main)
