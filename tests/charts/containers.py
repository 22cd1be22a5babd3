"""Rendered containers on this machine: their commands with their own environment and nothing else."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.charts.helm import ROOT, Manifest, Manifests
from tests.s3_server import ACCESS_KEY, SECRET

SECONDS = 300
_KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
_PROGRAMS = Path(sys.executable).parent


def command(container: Manifest) -> list[str]:
    """Program and arguments."""
    return [*container["command"], *container["args"]]


def variables(container: Manifest, manifests: Manifests) -> dict[str, str]:
    """The container's environment, with the keys of the tests' object store."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        found |= manifests.of("ConfigMap", source["configMapRef"]["name"])["data"]
    for item in container["env"]:
        if "value" in item:
            found[item["name"]] = item["value"]
        elif item["valueFrom"]["secretKeyRef"]["key"] in _KEYS:
            found[item["name"]] = _KEYS[item["valueFrom"]["secretKeyRef"]["key"]]
        else:
            assert item["valueFrom"]["secretKeyRef"]["optional"] is True
    return found


def environment(own: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What a process needs to start on this machine, and the container's own variables."""
    search = f"{_PROGRAMS}:{os.environ['PATH']}"
    return {"PATH": search, "PYTHONPATH": str(ROOT), "HOME": str(folder), "OMP_NUM_THREADS": "1", **own}


def program(name: str) -> str:
    """Where this machine has a program of the images."""
    return str(_PROGRAMS / name)


def run(arguments: list[str], own: Mapping[str, str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a container's command to its end."""
    return subprocess.run(
        [program(arguments[0]), *arguments[1:]],
        env=environment(own, folder),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )
