"""Uploads the results of a run: report, records, and an index of the artifacts."""

import shutil
import tempfile
from pathlib import Path

from components.artifacts import file_sha256, write_json
from components.errors import check
from components.storage.s3 import publish_directory, split_uri
from pipelines.local.workdir import Workdir

INDEX = "artifacts.json"


def check_destination(uri: str) -> None:
    """Raise `InputError` unless the URI is a prefix in a bucket; to call before a run that may take hours."""
    _, prefix = split_uri(uri)
    check(bool(prefix), "publish", uri, "s3://BUCKET/PREFIX")


def publish_results(workdir: Workdir, uri: str) -> None:
    """Upload the results of the last finished run in a folder to a prefix; earlier ones there are replaced.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory)
        for path in (workdir.report, workdir.metrics):
            shutil.copyfile(path, results / path.name)
        write_json(results / INDEX, artifact_index(workdir))
        publish_directory(results, uri)


def artifact_index(workdir: Workdir) -> list[dict[str, str | int]]:
    """Path below the folder of the runs, size in bytes and sha256 of every file of the artifacts."""
    hidden = workdir.artifacts / ".kfp_cache"
    files = (path for path in workdir.artifacts.rglob("*") if path.is_file() and not path.is_relative_to(hidden))
    return [
        {
            "path": path.relative_to(workdir.root).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": file_sha256(path),
        }
        for path in sorted(files)
    ]
