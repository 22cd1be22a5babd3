"""Tests of the drift pipeline's package, and of a run by KFP's local runner."""

from pathlib import Path
from typing import Any

import pytest
from kfp import local
from mlflow import MlflowClient

from components.artifacts import DRIFT, ImageSet, read_json
from components.change.good_images import good_images
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import Detector
from components.drift.config import Config
from components.errors import InputError
from components.registry.history import read_history
from pipelines.dags.drift import PIPELINE_NAME, drift_pipeline, write_package
from pipelines.lines.line import parse_line
from tests.components.image_sets import write_reference
from tests.conftest import NewDatabase
from tests.pipelines.packages import documents

IMAGES = "s3://lines/bolts/new"


def package(folder: Path, **changes: Any) -> list[dict[str, Any]]:
    """The pipeline and the task settings of a package."""
    line = parse_line({"name": "bolts", "object": "bolt", "dataset": {"uri": "s3://lines/bolts"}}, folder)
    values: dict[str, Any] = {"images": IMAGES, "detector": "champion", "config": Config(alpha=0.01), **changes}
    write_package(folder / "drift.yaml", line, **values)
    return documents(folder / "drift.yaml")


def test_package_has_one_task_and_the_lines_values_as_defaults(tmp_path: Path) -> None:
    pipeline, platform = package(tmp_path)
    (task,) = pipeline["root"]["dag"]["tasks"].values()
    assert task["cachingOptions"] == {}
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    defaults = {name: found["defaultValue"] for name, found in parameters.items()}
    assert (defaults["line"], defaults["images"], defaults["detector"]) == ("bolts", IMAGES, "champion")
    limits = {name: defaults[name] for name in ("alpha", "min_shift", "max_false_alarm_rate")}
    assert limits == {"alpha": 0.01, "min_shift": 0.25, "max_false_alarm_rate": 0.05}
    assert pipeline["pipelineInfo"]["name"] == PIPELINE_NAME
    assert set(pipeline["root"]["outputDefinitions"]["artifacts"]) == {"drift", "html"}
    (settings,) = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values()
    assert settings["podMetadata"]["labels"] == {"vigil/line": "bolts", "vigil/stage": "drift"}
    assert "fieldPathAsEnv" not in settings  # a run by itself, and no part of a training run


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"images": "/data/new"}, "images: got '/data/new', expected s3://BUCKET/PREFIX"),
        ({"detector": "/data/detector"}, "detector: got '/data/detector', expected champion or s3://BUCKET/PREFIX"),
        ({"detector": "none"}, "detector: got 'none', expected champion or s3://BUCKET/PREFIX"),
    ],
)
def test_what_a_cluster_cannot_read_is_refused(tmp_path: Path, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        package(tmp_path, **changes)


@pytest.mark.slow
def test_pipeline_runs_locally(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_database: NewDatabase) -> None:
    from PIL import Image

    reference, detector, new = write_reference(tmp_path / "reference"), tmp_path / "detector", tmp_path / "new"
    train_detector(reference, reference, reference, detector, DetectorConfig())
    images = ImageSet(reference)
    good_images(images, Detector(detector)).write(detector)
    new.mkdir()
    for id in images.ids("test", "good"):
        Image.fromarray(images.image(id) // 2).save(new / f"{id}.png")
    uri = new_database(tmp_path)
    MlflowClient(uri).create_experiment("bolts", artifact_location=(tmp_path / "files").as_uri())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "artifacts"))
    outputs = drift_pipeline("bolts", str(new), str(detector), Config())().outputs
    found = read_json(Path(outputs["drift"].path) / DRIFT)
    assert (found["retrain"], found["reference"]) == ("yes", "the run that trained the detector")
    assert "Drift of bolts" in Path(outputs["html"].path).read_text(encoding="utf-8")
    (history,) = read_history(uri, ["bolts"])
    assert ([check.retrain for check in history.drift], history.runs) == ([True], ())
