"""A Docker engine of its own for machines that have the daemon installed but none running, and a base image for it.

The engine has its own data folder and socket and uses the machine's network. The base image is made of Debian
packages, for machines that reach no image registry. `python -m images.engine COMMAND...` runs a command with an engine.
"""

import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOCKER = "/usr/bin/docker"
"""Client of Debian's docker.io; the first of the path may be of another version."""
DAEMON = "/usr/sbin/dockerd"
BASE_IMAGE = "vigil-base:bookworm"
"""Made of Debian's packages on this machine."""
_CERTIFICATES = Path("etc/ssl/certs/ca-certificates.crt")
_START_SECONDS = _STOP_SECONDS = 60
_OFF = ("iptables", "ip6tables", "ip-masq", "ip-forward")
FOLDER = Path("build") / "engine"
"""Data of the engine that commands are run with; kept, as it makes the next build quick."""


def main() -> None:
    """Run the command of the arguments with the machine's engine, or else with one of its own."""
    command = sys.argv[1:]
    client = os.environ.get("DOCKER", "docker")
    if shutil.which(client) and subprocess.run([client, "info"], capture_output=True, check=False).returncode == 0:
        raise SystemExit(subprocess.run(command, check=False).returncode)
    if reason := missing():
        raise SystemExit(f"error: no Docker engine answers, and none can be started: {reason}")
    with engine(FOLDER.resolve()) as address:
        done = subprocess.run(command, env={**os.environ, **environment(address)}, check=False)
    raise SystemExit(done.returncode)


def environment(address: str) -> dict[str, str]:
    """What a command needs in its environment to build and run images with the engine; makes the base image."""
    return {
        "DOCKER": DOCKER,
        "DOCKER_HOST": address,
        "DOCKER_BUILDKIT": "0",
        "BASE_IMAGE": make_base_image(address),
        "VIGIL_BUILD_NETWORK": "host",
    }


def missing() -> str:
    """Why no engine can be started on this machine; empty when one can."""
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "starting a Docker engine needs root on Linux"
    for program in (DOCKER, DAEMON, "mmdebstrap"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian's packages docker.io and mmdebstrap)"
    return ""


@contextmanager
def engine(folder: Path) -> Iterator[str]:
    """Run an engine with all its data below a folder, and yield its address, for `DOCKER_HOST`.

    Layers of an earlier engine in the folder are used again. A `RuntimeError` holds the end of the log of an engine
    that did not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vigil-engine-") as run:
        address = f"unix://{run}/docker.sock"
        options = {"storage-driver": "overlay2", "bridge": "none", **dict.fromkeys(_OFF, "false")}
        places = {"data-root": folder / "data", "exec-root": f"{run}/exec", "pidfile": f"{run}/pid", "host": address}
        command = [DAEMON, *(f"--{name}={value}" for name, value in (options | places).items())]
        log = folder / "engine.log"
        with log.open("wb") as output:
            process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            deadline = time.monotonic() + _START_SECONDS
            while subprocess.run([DOCKER, "--host", address, "info"], capture_output=True, check=False).returncode:
                if time.monotonic() > deadline or process.poll() is not None:
                    end = log.read_text(errors="replace")[-2000:]
                    raise RuntimeError(f"the Docker engine did not start: {end}")
                time.sleep(0.5)
            yield address
        finally:
            process.terminate()  # ends its containers and its containerd too
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            # The engine leaves its network namespace mounted.
            subprocess.run(["umount", f"{run}/exec/netns/default"], capture_output=True, check=False)


def make_base_image(address: str) -> str:
    """Make the base image by mmdebstrap, unless the engine has it, and return its name.

    Debian's Python 3.11 in the place of python:3.11-slim. It holds this machine's certificates, so it stays here.
    A `RuntimeError` holds the end of the output of mmdebstrap where that failed.
    """
    docker = [DOCKER, "--host", address]
    if subprocess.run([*docker, "image", "inspect", BASE_IMAGE], capture_output=True, check=False).returncode == 0:
        return BASE_IMAGE
    with tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "base.tar"
        hooks = [
            'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED',
            'ln -sf python3 "$1"/usr/bin/python',
            f'cp "/{_CERTIFICATES}" "$1/{_CERTIFICATES}"',
        ]
        command = ["mmdebstrap", "--variant=minbase", "--include=python3,python3-venv,python3-pip,ca-certificates"]
        command += [f"--customize-hook={hook}" for hook in hooks] + ["bookworm", str(archive)]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"mmdebstrap cannot make the base image:\n{done.stderr[-2000:]}")
        subprocess.run([*docker, "import", str(archive), BASE_IMAGE], check=True, capture_output=True)
    return BASE_IMAGE


if __name__ == "__main__":
    main()
