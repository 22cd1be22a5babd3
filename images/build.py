"""Builds the container images, tagged with the project's version, and holds their sizes against the budgets."""

import contextlib
import functools
import os
import re
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated

import typer
import yaml

from components import __version__
from components.errors import InputError, check
from components.stage.images import registry

ROOT = Path(__file__).resolve().parents[1]
BUDGETS = Path(__file__).with_name("images.yaml")
DOCKER = os.environ.get("DOCKER", "docker")
_FILE = "file://"
_PORTS = range(10000, 11000)  # apart from those of the tests
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REGISTRY = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?(/[a-z0-9][a-z0-9._-]*)*")

Indexes = Annotated[
    str,
    typer.Option(
        envvar="VIGIL_PIP_EXTRA_INDEX",
        help="Further package indexes, separated by spaces: addresses, or folders, which are served meanwhile. "
        "Without any, the folders that this machine's pip is configured with.",
    ),
]
Push = Annotated[str, typer.Option(metavar="REGISTRY", help="Registry and path, HOST/PATH, to push all images to.")]
Replace = Annotated[bool, typer.Option(help="Build over images of another commit that have the version's tag.")]


def main(
    base_image: Annotated[str, typer.Option(envvar="BASE_IMAGE")] = "python:3.11-slim",
    index: Annotated[str, typer.Option(envvar="VIGIL_PIP_INDEX", help="Package index instead of pip's own.")] = "",
    extra_index: Indexes = "",
    network: Annotated[str, typer.Option(envvar="VIGIL_BUILD_NETWORK", help="Network of the build.")] = "",
    replace: Replace = False,
    push: Push = "",
) -> None:
    """Build all images; exit code 1 when a build fails or an image is larger than its budget."""
    targets = yaml.safe_load(BUDGETS.read_text(encoding="utf-8"))
    names = {target: f"{registry()}/{image['name']}:{__version__}" for target, image in targets.items()}
    indexes = extra_index.split() or configured_folders()
    check_addresses((index, *indexes), push)
    if not replace:
        check_tags(names.values())
    too_large = []
    with served_indexes(indexes) as addresses:
        arguments = {"BASE_IMAGE": base_image, "PIP_INDEX_URL": index, "PIP_EXTRA_INDEX_URL": " ".join(addresses)}
        for target, name in names.items():
            started = time.monotonic()
            build(target, name, arguments, network or ("host" if indexes else ""))
            size, budget = int(_inspect(name, "{{.Size}}")) / 1_000_000, targets[target]["budget_mb"]
            print(f"{name}  {size:.0f} of {budget} MB  {time.monotonic() - started:.0f} s", flush=True)
            if size > budget:
                too_large.append(name)
    if too_large:
        print(f"larger than its budget: {', '.join(too_large)}")
        raise typer.Exit(1)
    if push:
        push_images(names.values(), push)


def check_addresses(indexes: Sequence[str], push: str) -> None:
    """Raise `InputError` for an address with a credential, and unless a committed state is pushed to a registry.

    The images' history shows the build arguments.
    """
    if any(not _is_folder(address) and ("@" in address or "?" in address) for address in indexes):
        raise InputError(
            "package index: got credentials or a query in an address, expected none, because `docker history` shows "
            "it to whoever has the image; put a mirror without a login in front, or give a folder"
        )
    if push and not _REGISTRY.fullmatch(push):
        raise InputError(
            "--push: got no registry's address, expected HOST[:PORT]/PATH; `docker login` stores the login"
        )
    if push:
        check(bool(_COMMIT.fullmatch(revision())), "--push", revision(), "a commit without changes beside it")


def check_tags(names: Iterable[str]) -> None:
    """Raise `InputError` when a tag exists that was built from another commit."""
    for name in names:
        there = _inspect(name, '{{index .Config.Labels "org.opencontainers.image.revision"}}')
        if _COMMIT.fullmatch(there) and there != revision():
            raise InputError(
                f"image {name}: was built from commit {there}, this is {revision()}; "
                "a new state has a new version, --replace builds over it"
            )


def build(target: str, name: str, arguments: dict[str, str], network: str) -> None:
    """Build one target of the Dockerfile under a name, or raise `RuntimeError` with the end of the output."""
    command = [DOCKER, "build", "--file", str(ROOT / "images" / "Dockerfile"), "--target", target, "--tag", name]
    given = arguments | {"VERSION": __version__, "REVISION": revision()}
    command += [part for key, value in given.items() if value for part in ("--build-arg", f"{key}={value}")]
    command += ["--network", network] if network else []
    _run([*command, str(ROOT)], f"image {name} cannot be built")


def push_images(names: Iterable[str], address: str) -> None:
    """Tag images for a registry and path, and push them, or raise `RuntimeError` with the end of the output."""
    for name in names:
        target = f"{address}/{name.rpartition('/')[2]}"
        subprocess.run([DOCKER, "tag", name, target], check=True)
        _run([DOCKER, "push", target], f"image {target} cannot be pushed")
        print(f"pushed: {target}", flush=True)


def _inspect(name: str, template: str) -> str:
    """A fact about an image, by a template of Docker; empty where there is no such image."""
    command = [DOCKER, "image", "inspect", "--format", template, name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _run(command: Sequence[str], failure: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{failure}:\n{done.stdout[-3000:]}")


def configured_folders() -> list[str]:
    """Folders that this machine's pip is configured with as package indexes, which a build cannot see by itself."""
    command = [sys.executable, "-m", "pip", "config", "get", "global.extra-index-url"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [index for index in done.stdout.split() if index.startswith(_FILE)]


@contextlib.contextmanager
def served_indexes(indexes: Sequence[str]) -> Iterator[list[str]]:
    """Addresses of package indexes; in the block, those that are folders are served on the loopback interface.

    The folder around an index is served, where its links usually lead. The port is derived from the folder's path:
    addresses are build arguments, and a new one invalidates every layer.
    """
    addresses = list(indexes)
    with contextlib.ExitStack() as stack:
        for place, index in enumerate(indexes):
            if not _is_folder(index):
                continue
            folder = Path(index.removeprefix(_FILE)).resolve()
            handler = functools.partial(_QuietHandler, directory=str(folder.parent))
            port = _PORTS[zlib.crc32(str(folder).encode()) % len(_PORTS)]
            try:
                server = ThreadingHTTPServer(("127.0.0.1", port), handler)
            except OSError:  # in use, as by a concurrent build
                server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
            stack.enter_context(server)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            addresses[place] = f"http://127.0.0.1:{server.server_port}/{folder.name}"
        yield addresses


def _is_folder(index: str) -> bool:
    return index.startswith(_FILE) or Path(index).is_dir()


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@functools.cache
def revision() -> str:
    """Commit of the checkout, with `-dirty` when there are changes beside it; `unknown` outside of one."""
    git = ["git", "-C", str(ROOT)]
    try:
        commit, changes = (
            subprocess.run([*git, *command], capture_output=True, text=True, check=True).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (FileNotFoundError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if changes else commit


if __name__ == "__main__":
    try:
        typer.run(main)
    except (InputError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2 if isinstance(error, InputError) else 1) from None
