"""Results go to an object store as they are in the folder, with an index of the artifacts."""

from pathlib import Path

import pytest

from components.artifacts import file_sha256, read_json, write_json
from components.errors import InputError
from components.storage.s3 import fetch_prefix
from pipelines.local.publication import artifact_index, check_destination, publish_results
from pipelines.local.workdir import Workdir
from tests.pipelines.vigil import Vigil


@pytest.fixture
def workdir(tmp_path: Path) -> Workdir:
    """A folder after a run."""
    folder = Workdir(root=tmp_path / "run")
    artifact = folder.artifacts / "training-1" / "evaluate" / "predictions" / "records.json"
    artifact.parent.mkdir(parents=True)
    write_json(artifact, [])
    cached = folder.artifacts / ".kfp_cache" / "key"
    cached.mkdir(parents=True)
    (cached / "entry.json").touch()
    folder.report.write_text("<html></html>", encoding="utf-8")
    write_json(folder.metrics, [{"image_auroc": 0.9}])
    return folder


def test_index_has_every_artifact_and_not_the_cache(workdir: Workdir) -> None:
    path = workdir.artifacts / "training-1" / "evaluate" / "predictions" / "records.json"
    assert artifact_index(workdir) == [
        {"path": path.relative_to(workdir.root).as_posix(), "bytes": 3, "sha256": file_sha256(path)}
    ]


@pytest.mark.s3
def test_results_come_back(workdir: Workdir, prefix: str, tmp_path: Path) -> None:
    publish_results(workdir, prefix)
    fetch_prefix(prefix, tmp_path / "back")
    names = {path.name for path in (tmp_path / "back").iterdir()}
    assert names == {"report.html", "metrics.json", "artifacts.json"}
    assert read_json(tmp_path / "back" / "metrics.json") == [{"image_auroc": 0.9}]
    assert read_json(tmp_path / "back" / "artifacts.json") == artifact_index(workdir)


@pytest.mark.parametrize("uri", ["results", "s3://", "s3://bucket", "s3://bucket/"])
def test_destination_is_a_prefix_in_a_bucket(uri: str) -> None:
    with pytest.raises(InputError, match=r"expected s3://BUCKET/"):
        check_destination(uri)


def test_bad_destination_is_reported_before_the_run(vigil: Vigil, tmp_path: Path) -> None:
    done = vigil("run", tmp_path / "line.yaml", "--workdir", tmp_path / "run", "--publish", "results")
    assert done.code == 2
    assert "'results', expected s3://BUCKET/" in done.err
    assert not (tmp_path / "run").exists()
