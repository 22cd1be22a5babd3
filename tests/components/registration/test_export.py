"""Exports of a real detector, and the parity check that a spoilt one fails."""

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.artifacts import ONNX_MODEL, OPENVINO_MODEL, ImageSet
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import Detector
from components.errors import InputError
from components.registration.config import Config
from components.registration.export import compare, export_detector, load_export, write_export
from tests.components.image_sets import write_reference

KEYS = {"max_score_difference", "max_map_difference", "changed_decisions", "passed"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    reference = write_reference(root / "reference")
    train_detector(reference, reference, reference, root / "detector", DetectorConfig())
    return root


@pytest.fixture
def detector(trained: Path, tmp_path: Path) -> Path:
    """A copy that a test may add an export to."""
    return Path(shutil.copytree(trained / "detector", tmp_path / "detector"))


@pytest.mark.parametrize(("kind", "files"), [("onnx", {ONNX_MODEL}), ("openvino", {OPENVINO_MODEL, "model.bin"})])
def test_export_agrees_with_the_checkpoint(trained: Path, detector: Path, kind: str, files: set[str]) -> None:
    before = {path.name for path in detector.iterdir()}
    parity = export_detector(detector, trained / "reference", Config(export=kind))
    assert {path.name for path in detector.iterdir()} == before | files
    assert set(parity) == {f"parity.{key}" for key in KEYS}
    assert parity["parity.passed"] is True
    assert parity["parity.changed_decisions"] == 0
    assert 0 <= parity["parity.max_score_difference"] < 0.01
    assert 0 <= parity["parity.max_map_difference"] < 0.01


def test_nothing_is_exported_unless_asked(trained: Path, detector: Path) -> None:
    before = {path.name for path in detector.iterdir()}
    assert export_detector(detector, trained / "reference", Config()) == {}
    assert {path.name for path in detector.iterdir()} == before


def perturb(path: Path, scale: float) -> None:
    """Scale the largest tensor of an ONNX file, PatchCore's memory bank or its features."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(path)
    tensor = max(model.graph.initializer, key=lambda found: int(np.prod(found.dims)))
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(scale), tensor.name))
    onnx.save(model, path)


def test_perturbed_weights_fail(trained: Path, detector: Path) -> None:
    checkpoint = Detector(detector)
    write_export(checkpoint, detector, "onnx")
    images = ImageSet(trained / "reference")
    tensor = images.tensor(images.ids("test"))
    assert compare(checkpoint, load_export(detector, "onnx"), torch.split(tensor, 2), Config()).passed
    perturb(detector / ONNX_MODEL, 1.2)
    parity = compare(checkpoint, load_export(detector, "onnx"), torch.split(tensor, 2), Config())
    assert not parity.passed
    assert parity.max_score_difference > 0.001 * checkpoint.threshold.known


def test_changed_decision_fails_within_the_tolerance(trained: Path, detector: Path) -> None:
    """An export that moves every score over the threshold fails, however large a difference is allowed."""
    checkpoint = Detector(detector)
    images = ImageSet(trained / "reference")
    tensor = images.tensor(images.ids("test"))

    def shifted(batch: Any) -> Any:
        scores, maps = checkpoint.predict(batch)
        return scores + 0.9 * checkpoint.threshold.known, maps

    strict = compare(checkpoint, shifted, [tensor], Config(parity_tolerance=1.0))
    good = images.tensor(images.ids("test", "good"))
    assert strict.changed_decisions == int((checkpoint.predict(good)[0] <= checkpoint.threshold.known).sum()) > 0
    assert not strict.passed
    assert compare(checkpoint, shifted, [tensor], Config(parity_tolerance=1.0, parity_changes=8)).passed


@pytest.mark.parametrize("spoiled", ["scores", "maps"])
def test_value_that_is_no_number_fails(trained: Path, detector: Path, spoiled: str) -> None:
    checkpoint, images = Detector(detector), ImageSet(trained / "reference")
    tensor = images.tensor(images.ids("test", "good"))

    def undefined(batch: Any) -> Any:
        scores, maps = checkpoint.predict(batch)
        (scores if spoiled == "scores" else maps)[0] = torch.nan
        return scores, maps

    loose = Config(parity_tolerance=1.0, parity_changes=len(tensor))
    assert not compare(checkpoint, undefined, torch.split(tensor, 2), loose).passed


def test_missing_package_is_named(trained: Path, detector: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("components.registration.export.find_spec", lambda name: None if name == "onnxruntime" else 1)
    with pytest.raises(InputError, match=r"registration\.export: got 'onnx', expected the extra 'export'.*onnxruntime"):
        export_detector(detector, trained / "reference", Config(export="onnx"))


def test_onnxs_exporter_needs_no_further_package(detector: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    write_export(Detector(detector), detector, "onnx")
    assert (detector / ONNX_MODEL).stat().st_size > 1_000_000


@pytest.mark.parametrize(("field", "value"), [("export", "tflite"), ("parity_tolerance", -0.1), ("parity_changes", -1)])
def test_settings_are_checked(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"registration\.{field}: got "):
        Config(**{field: value})
