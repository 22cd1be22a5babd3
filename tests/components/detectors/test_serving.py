"""Detectors that are really trained and exported, loaded as they are served."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.artifacts import download_artifacts

from components.artifacts import (
    ONNX_MODEL,
    PREDICTIONS,
    SUMMARY,
    ImageSet,
    encode_png,
    read_table,
    write_json,
)
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import Detector
from components.detectors.serving import ServedDetector, runtime_of
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from components.registration.config import Config
from components.registration.export import export_detector
from components.registration.register import register_best
from components.tracking.run import stage_run
from tests.components.image_sets import write_reference
from tests.conftest import NewDatabase

LINE = "bolts"
HEAVY = ("anomalib", "lightning", "timm", "torch", "transformers")
LOADED_ALONE = f"""
import base64, json, sys
from pathlib import Path
for name in {HEAVY}:
    sys.modules[name] = None
import mlflow, numpy as np
model = mlflow.pyfunc.load_model(sys.argv[1])
found = model.predict(np.array([Path(sys.argv[2]).read_bytes()], dtype=object))
print(json.dumps({{"score": found["score"].tolist(), "map": list(found["anomaly_map"].shape)}}))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("served")
    reference = write_reference(root / "reference")
    train_detector(reference, reference, reference, root / "detector", DetectorConfig())
    return root


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_export_that_agrees_serves_the_checkpoints_scores(trained: Path, tmp_path: Path, kind: str) -> None:
    path = Path(shutil.copytree(trained / "detector", tmp_path / "detector"))
    write_json(path / SUMMARY, export_detector(path, trained / "reference", Config(export=kind)))
    images = ImageSet(trained / "reference")
    ids = images.ids("test")
    served, checkpoint = ServedDetector(path), Detector(path)
    scores, maps = served.score([images.image(id) for id in ids])
    expected, expected_maps = checkpoint.predict(images.tensor(ids))
    assert (served.runtime, served.threshold, served.preprocessing.image_size) == (kind, checkpoint.threshold.value, 64)
    assert scores == pytest.approx(expected.numpy(), abs=1e-4)
    assert maps == pytest.approx(expected_maps.numpy(), abs=1e-4)
    assert {str(scores.dtype), str(maps.dtype)} == {"float32"}


def test_checkpoint_is_served_without_an_export(trained: Path) -> None:
    images = ImageSet(trained / "reference")
    ids = images.ids("test")
    served = ServedDetector(trained / "detector")
    scores, _ = served.score([images.image(id) for id in ids])
    assert served.runtime == "torch"
    assert scores.tolist() == Detector(trained / "detector").predict(images.tensor(ids))[0].tolist()


@pytest.mark.parametrize("summary", [{"parity.passed": False}, {}])
def test_export_that_does_not_agree_is_not_served(trained: Path, tmp_path: Path, summary: dict[str, bool]) -> None:
    path = Path(shutil.copytree(trained / "detector", tmp_path / "detector"))
    (path / ONNX_MODEL).write_bytes(b"spoilt")
    write_json(path / SUMMARY, summary)
    assert runtime_of(path) == "torch"
    assert ServedDetector(path).runtime == "torch"


@pytest.mark.slow
def test_registered_export_is_loaded_without_torch_and_anomalib(
    trained: Path, new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_database(tmp_path))
    monkeypatch.setenv("VIGIL_RUN_ID", "r1")
    predictions = tmp_path / "predictions"
    evaluate_detectors(trained / "reference", [trained / "detector"], predictions, EvaluationConfig(latency_images=2))
    with stage_run(LINE, "registration") as run:
        reference, config = trained / "reference", Config(export="onnx")
        register_best(LINE, reference, [trained / "detector"], predictions, tmp_path / "best", config, run)
    uri, row = f"models:/{LINE}/1", read_table(predictions / PREDICTIONS).iloc[0]
    image = tmp_path / "image.png"
    image.write_bytes(encode_png(ImageSet(reference).image(row["id"])))
    command = [sys.executable, "-c", LOADED_ALONE, uri, str(image)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(ended.stdout)
    assert found == {"score": [pytest.approx(row["score"], abs=1e-4)], "map": [1, 64, 64]}
    requirements = Path(download_artifacts(f"{uri}/requirements.txt", dst_path=str(tmp_path))).read_text("utf-8")
    assert {line.partition("==")[0] for line in requirements.split()} == {"mlflow", "numpy", "onnxruntime", "pillow"}
