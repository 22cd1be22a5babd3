"""Where a result comes from: versions of packages, revision of the code, page of the pipeline run."""

import hashlib
import os
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from components.tracking.events import RUN_ID

REVISION = "VIGIL_GIT_REVISION"
KFP_UI = "VIGIL_KFP_UI"
_PACKAGES = ("torch", "kfp", "anomalib", "diffusers", "open_clip_torch", "mlflow", "nltk")


def versions() -> dict[str, str]:
    """Versions of the packages that decide results, of those that are installed."""
    found = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def code_digest() -> str:
    """Digest of the source of all stages, which says more than a version does while the code is changed."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        digest.update(f"{path.relative_to(root).as_posix()}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def git_revision() -> str:
    """Commit of the code: `VIGIL_GIT_REVISION`, which the images set, or that of the checkout; empty outside of one."""
    root = Path(__file__).resolve().parents[2]
    if REVISION in os.environ or not (root / ".git").exists():
        return os.environ.get(REVISION, "")
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def run_url() -> str:
    """Page of the pipeline run in the Kubeflow UI, whose address `VIGIL_KFP_UI` holds; empty without one."""
    address, run_id = os.environ.get(KFP_UI, "").rstrip("/"), os.environ.get(RUN_ID, "")
    return f"{address}/#/runs/details/{run_id}" if address and run_id else ""
