"""A detector of another package, which an entry point adds to the table."""

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from components.artifacts import CONFIG, ImageSet, read_json
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector, fit, predict
from components.detectors.table import DETECTORS
from components.registration.config import Config as GateConfig
from components.registration.export import export_detector
from components.weights.fetch import resolve
from tests.components.image_sets import write_reference

ROW = """
from components.detectors.table import DetectorRow, backbone_of

ROW = DetectorRow(module="mean_feature", network=backbone_of, reads=("backbone", "backbone_weights"))
"""
DETECTOR = '''
"""Distance to the mean feature of the training images."""

import torch
from anomalib.data import InferenceBatch
from torch import nn
from torch.nn import functional

from components.detectors.encoder import Encoder


class MeanFeature(nn.Module):
    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder
        self.register_buffer("mean", torch.zeros(1, encoder.channels[0], 1, 1))

    def forward(self, images):
        distances = (self.encoder(images)[0] - self.mean).norm(dim=1, keepdim=True)
        maps = functional.interpolate(distances, size=images.shape[-2:], mode="bilinear")
        return InferenceBatch(pred_score=maps.amax(dim=(1, 2, 3)), anomaly_map=maps)


def build(config, image_size, pretrained):
    return MeanFeature(Encoder(config.backbone, (2,), reference=config.backbone_reference, pretrained=pretrained))


def train(model, images, config):
    model.mean = model.encoder(images[:])[0].mean(dim=(0, 2, 3), keepdim=True)
'''


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A folder with an installed package."""
    folder = tmp_path / "site"
    (folder / "outside-1.0.dist-info").mkdir(parents=True)
    (folder / "mean_feature_row.py").write_text(ROW, encoding="utf-8")
    (folder / "mean_feature.py").write_text(DETECTOR, encoding="utf-8")
    described = {"METADATA": "Name: outside\nVersion: 1.0\n"}
    described["entry_points.txt"] = "[vigil.detectors]\nmean_feature = mean_feature_row:ROW\n"
    for name, content in described.items():
        (folder / "outside-1.0.dist-info" / name).write_text(content, encoding="utf-8")
    return folder


def test_entry_point_adds_a_row_without_torch(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(package)!r})\n"
        "from components.detectors.table import DETECTORS\n"
        "print(DETECTORS['mean_feature'].module, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["mean_feature", "False"]


def test_it_is_trained_saved_loaded_and_exported(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(package)
    (entry,) = entry_points(group="vigil.detectors", name="mean_feature")
    monkeypatch.setitem(DETECTORS, "mean_feature", entry.load())
    reference = write_reference(tmp_path / "reference")
    config = Config(detector="mean_feature")
    result = train_detector(reference, reference, reference, tmp_path / "detector", config)
    assert result["threshold_source"] == "leave-one-out"
    images = ImageSet(reference)
    expected = predict(fit(images.tensor(images.ids("train")), config), images.tensor(images.ids("test")))[0]
    assert Detector(tmp_path / "detector").predict(images.tensor(images.ids("test")))[0].equal(expected)
    backbone = {"name": "efficientnet-lite0", "sha256": resolve("efficientnet-lite0").sha256}
    assert read_json(tmp_path / "detector" / CONFIG)["backbone"] == backbone
    assert export_detector(tmp_path / "detector", reference, GateConfig(export="onnx"))["parity.passed"] is True
