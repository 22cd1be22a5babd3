"""Tiles are scored and put together, and padding counts for nothing, trained, loaded, exported and served alike."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from components.artifacts import ImageSet, file_sha256
from components.dataset.config import Config as DatasetConfig
from components.dataset.ingest import ingest_dataset
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector, fit, predict
from components.detectors.placement import network_of
from components.detectors.scoring import highest
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from components.preprocessing.transform import PADDING, Preprocessing, preprocessing_of
from components.registration.config import Config as RegistrationConfig
from components.registration.export import export_detector
from tests.components.trees import save

SIDE = 64
WIDE = Preprocessing(image_size=SIDE, content=(SIDE, SIDE // 2), keep_aspect=True)
STEPS: dict[str, dict[str, Any]] = {
    "patchcore": {},
    "padim": {},
    "cflow": {"cflow_steps": 2},
    "reverse_distillation": {"distillation_steps": 2},
    "efficientad": {"efficientad_steps": 2},
    "anomalydino": {},
    "dinomaly": {"dinomaly_steps": 2},
    "subspacead": {},
}


@pytest.fixture(scope="module")
def vit_weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    model = timm.create_model("vit_small_patch14_dinov2", pretrained=False, num_classes=0)
    path = tmp_path_factory.mktemp("vit") / "dinov2_vits14.safetensors"
    save_file({**model.state_dict(), "mask_token": torch.zeros(1, 384)}, path)
    return f"{path}#sha256={file_sha256(path)}"


def padded(seed: int) -> torch.Tensor:
    """Image [1, 3, 64, 64] of a texture of 64 by 32 pixels with padding above and below."""
    image = (torch.tensor(PADDING) / 255).view(1, 3, 1, 1).repeat(1, 1, SIDE, SIDE)
    image[..., 16:48, :] = 0.4 + 0.1 * torch.rand(1, 3, 32, SIDE, generator=torch.Generator().manual_seed(seed))
    return image


@pytest.mark.parametrize("name", STEPS)
def test_padding_is_neither_scored_nor_shown(name: str, vit_weights: str) -> None:
    config = Config(detector=name, vit_weights=vit_weights, **STEPS[name])

    model = fit(torch.cat([padded(0), padded(1)]), config, WIDE)
    scores, maps = predict(model, padded(2))

    assert maps.shape == (1, SIDE, SIDE)
    assert not maps[:, :16].any()
    assert not maps[:, 48:].any()
    inside = maps[:, 16:48].flatten()
    assert inside.max() > 0
    if name not in ("patchcore", "anomalydino", "subspacead"):
        assert scores.item() == pytest.approx(highest(inside.unsqueeze(0), config.image_score).item())


def test_banks_hold_no_patch_of_the_padding(vit_weights: str) -> None:
    images = torch.cat([padded(0), padded(1)])
    patchcore: Any = network_of(fit(images, Config(coreset_ratio=1.0), WIDE))
    assert patchcore.bank.seen == 2 * 4 * 8
    dino: Any = network_of(fit(images, Config(detector="anomalydino", vit_weights=vit_weights), WIDE))
    assert dino.bank.seen == 2 * 3 * 5


def test_subspace_is_that_of_the_patches_outside_of_the_padding(vit_weights: str) -> None:
    images = torch.cat([padded(0), padded(1)])
    model: Any = network_of(fit(images, Config(detector="subspacead", vit_weights=vit_weights), WIDE))
    rows = model.embed(images)[:, 1:4].flatten(0, 2)
    torch.testing.assert_close(model.mean, rows.mean(dim=0), atol=1e-4, rtol=1e-4)
    assert len(model.directions) < len(rows)


def texture(seed: int, defect: bool) -> np.ndarray[Any, Any]:
    """Grey texture of 1024 by 1024 pixels; a defect of 32 by 32, 0.1 % of it, has finer stripes of the same mean."""
    rows = np.arange(1024)
    pattern = 128 + 40 * np.sin(rows[:, None] / 6 + seed) * np.sin(rows[None, :] / 6)
    image = pattern + np.random.default_rng(seed).normal(0, 4, (1024, 1024))
    if defect:
        row, column = np.random.default_rng(seed).integers(100, 800, 2)
        image[row : row + 32, column : column + 32] = 128 + 50 * ((rows[:32] // 4 % 2) * 2 - 1)
    return image.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("large")
    for index in range(2):
        save(root / "train" / "good" / f"{index}.bmp", texture(index, False))
    for index in range(4):
        save(root / "test" / "good" / f"{index}.bmp", texture(10 + index, False))
        save(root / "test" / "hole" / f"{index}.bmp", texture(20 + index, True))
    return root


def trained(large: Path, root: Path, tiles: str) -> Path:
    """Reference image set and detector of the large images in tiles."""
    config = DatasetConfig(uri=str(large), shots=2, image_size=SIDE, tiles=tiles)
    ingest_dataset(root / "reference", config)
    train_detector(root / "reference", root / "reference", root / "reference", root / "detector", Config())
    return root


def test_defect_of_a_thousandth_of_the_image_is_seen_in_tiles_alone(large: Path, tmp_path: Path) -> None:
    found = {}
    for tiles in ("1x1", "6x6"):
        root = trained(large, tmp_path / tiles, tiles)
        (record,) = evaluate_detectors(
            root / "reference", [root / "detector"], root / "predictions", EvaluationConfig(latency_images=1)
        )
        found[tiles] = record.image_auroc or 0.0
    assert found["6x6"] == 1.0
    assert found["1x1"] < 0.8


@pytest.fixture(scope="module")
def tiled(large: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(large, tmp_path_factory.mktemp("tiled"), "2x3")


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_export_of_tiles_agrees_with_the_checkpoint(tiled: Path, tmp_path: Path, kind: str) -> None:
    directory = Path(shutil.copytree(tiled / "detector", tmp_path / "detector"))
    images, detector = ImageSet(tiled / "reference"), Detector(directory)
    assert detector.preprocessing == preprocessing_of(images)
    assert detector.input_size == (176, 120)

    parity = export_detector(directory, tiled / "reference", RegistrationConfig(export=kind))

    assert parity["parity.passed"] is True
    assert parity["parity.max_map_difference"] < 0.01
