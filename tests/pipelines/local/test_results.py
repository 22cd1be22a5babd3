"""The closing table, and results in an object store as they are in the folder, with an index of the artifacts."""

from pathlib import Path

import pytest

from components.artifacts import file_sha256, read_json, write_json
from components.errors import InputError
from components.metrics.records import Record
from components.storage.s3 import fetch_prefix
from pipelines.local.results import artifact_index, check_destination, comparison_table, publish_results
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


def _record(**figures: float) -> Record:
    rates = {"false_alarm_rate": 0.1, "recall": 0.5, "latency_ms": 7.0}
    return Record(detector="patchcore", training_set="none", seed=0, **rates, **figures)


def _columns(*records: Record) -> dict[str, list[str]]:
    return {str(column.header): [str(cell) for cell in column.cells] for column in comparison_table(records).columns}


def test_kinds_are_columns_where_any_detector_has_them() -> None:
    columns = _columns(_record(spro_logical=0.25), _record(image_auroc_kind_mean=0.75))

    assert columns["sPRO, logical"] == ["0.2500", "-"]
    assert columns["image AUROC, mean of kinds"] == ["-", "0.7500"]
    assert "sPRO, structural" not in columns
    assert columns["recall"] == ["50.0%", "50.0%"]


def test_other_lines_have_the_usual_columns() -> None:
    assert not any("kinds" in head or "sPRO" in head for head in _columns(_record(image_auroc=0.9)))
