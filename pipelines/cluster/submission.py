"""Submits a line to a cluster: its package as a pipeline version, and a run of it."""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from components import __version__
from components.errors import check
from components.stage.images import check_registry
from components.storage.addresses import is_s3
from components.weights.fetch import resolve
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.dags.package import write_package
from pipelines.lines.line import Line, check_object

_DIGEST_LETTERS = 12


@dataclass(frozen=True, kw_only=True)
class Package:
    """A line's compiled package, and the name of its pipeline version."""

    content: bytes
    digest: str
    """First letters of the content's sha256."""
    version: str
    """Line, project's version and digest: an unchanged package has an unchanged name."""

    def upload(self, cluster: Kubeflow) -> Any:
        """Upload the package unless the cluster has it; return kfp_server_api's reference to the version."""
        from pipelines.dags.training import PIPELINE_NAME

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "package.yaml"
            path.write_bytes(self.content)
            return cluster.upload_version(PIPELINE_NAME, self.version, path)


def compile_line(line: Line) -> Package:
    """Compile a line's package; `InputError` where nothing says which registry has the images."""
    check_registry()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "package.yaml"
        write_package(path, line)
        content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:_DIGEST_LETTERS]
    # A name of Kubernetes, as pipeline versions may be stored as its objects: other letters, and dots beside them, go.
    name = f"{line.name}-{__version__}-{digest}".lower()
    version = re.sub(r"[^a-z0-9]+", lambda others: "." if others[0] == "." else "-", name)
    return Package(content=content, digest=digest, version=version)


def check_for_cluster(line: Line, *, mounted: bool) -> None:
    """Raise `InputError` where a line cannot run on a cluster.

    That is where it names a path of this machine for its data, weights or images, unless it is mounted or in one of its
    volumes; where a text holds what the workflow engine takes for a variable of its own; and where its object is no
    noun, see `check_object`.
    """
    for name, value in _texts("", line.model_dump(exclude={"cluster"})):
        check("{{" not in value, name, value, "a text without {{, which the cluster's Argo takes for a variable")
    check_object(line)
    if mounted:
        return
    mount = "a path in one of cluster.volumes, or --mounted for one that the tasks' pods mount"
    uri, images = line.configs["dataset"].uri, line.configs["detection"].imagenet_dir
    inside = line.cluster.mounts
    check(is_s3(uri) or inside(uri), "dataset.uri", uri, f"s3://BUCKET/PREFIX on a cluster, or {mount}")
    check(not images or inside(images), "detection.imagenet_dir", images, f"none on a cluster, or {mount}")
    for name, reference in line.named_weights():
        expected, found = f"s3://BUCKET/KEY#sha256=HEX on a cluster, or {mount}", resolve(reference).uri
        check("://" in found or inside(found), name, reference, expected)


def _texts(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """All texts inside a value, each with its key."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(f"{name}.{key}" if name else str(key), item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(name, item)


def digest_of(value: object) -> str:
    """First letters of the sha256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:_DIGEST_LETTERS]


def start_run(cluster: Kubeflow, line: Line, experiment_id: str | None = None) -> str:
    """Upload a line's package when it is new, start a run of it, and return the run's id.

    Without an `experiment_id`, the run is in the line's own experiment, which is created when missing.
    """
    version = compile_line(line).upload(cluster)
    name = f"{line.name} {datetime.now(tz=UTC):%Y-%m-%d %H:%M:%S}"
    return cluster.create_run(name, experiment_id or cluster.experiment(line.name), version, line.arguments())
