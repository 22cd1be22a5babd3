"""Whether the content of a task's input artifacts is there: a cluster's cache also hands on what a bucket has deleted.

Kubeflow's launcher fetches nothing where nothing is left, without an error, and the stage would fail with a file that
is missing somewhere. The task's arguments name its artifacts.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.errors import InputError

_ARGUMENT = "--executor_input"
_MOUNTS = {"minio": "/minio/", "s3": "/s3/", "gs": "/gcs/"}
"""Where KFP puts the objects of a store, by the scheme of their address."""


def check_inputs(arguments: Sequence[str] | None = None) -> None:
    """Raise `InputError` for an input artifact of a KFP task of which nothing was fetched; `arguments`: the process's.

    Other processes than those of tasks have no such argument.
    """
    given = sys.argv if arguments is None else arguments
    if _ARGUMENT not in given[:-1]:
        return
    inputs = json.loads(given[given.index(_ARGUMENT) + 1]).get("inputs", {})
    for name, uri, path in _fetched(inputs.get("artifacts", {})):
        if not path.is_file() and not (path.is_dir() and any(path.iterdir())):
            raise InputError(
                f"artifact {name}: nothing is left of {uri}, as after a rule that expires objects, expected its "
                "content; `vigil prune --pipeline-root s3://… --apply` removes the run that computed it from the cache"
            )


def _fetched(artifacts: Mapping[str, Any]) -> Iterator[tuple[str, str, Path]]:
    """Name, address and local path of each artifact that the launcher fetches from a store."""
    for name, listed in artifacts.items():
        for artifact in listed.get("artifacts", []):
            uri = artifact.get("uri", "")
            scheme, _, key = uri.partition("://")
            if scheme in _MOUNTS:
                yield name, uri, Path(artifact.get("customPath") or _MOUNTS[scheme] + key)
