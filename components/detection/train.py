"""Trains one detector on one training set by anomalib's engine."""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components.artifacts import new_directory
from components.compute import seed_everything
from components.detection.memory import return_large_blocks
from components.detection.training_sets import load_training_set
from components.detectors import Config, build_detector, save_detector

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule

_BATCH = 8
_PATCHES_PER_PIXEL = 1 / 64


def train_detector(
    reference: str | Path, augmented: str | Path, selected: str | Path, detector: str | Path, config: Config
) -> dict[str, Any]:
    """Train a detector and write its artifact.

    Args:
        reference: image set with the given images.
        augmented: image set of the augmentation stage.
        selected: image set of the selection stage.
        detector: artifact to write.
        config: settings.

    Returns:
        Number of training images and seconds of training.
    """
    return_large_blocks()
    images = load_training_set(reference, augmented, selected, config)
    seed_everything(config.seed)
    started = time.perf_counter()
    model = fit(images, config)
    seconds = time.perf_counter() - started
    with new_directory(detector) as directory:
        save_detector(model, directory, config, images.shape[-1])
    return {"training_images": len(images), "training_seconds": seconds}


def fit(images: Tensor, config: Config) -> "AnomalibModule":
    """Detector of the config trained on images [n, 3, height, width] in [0, 1]."""
    from anomalib.engine import Engine

    model = build_detector(bounded(config, images))
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(
            default_root_dir=directory,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            accelerator="auto",
            devices=1,
        )
        engine.fit(model, train_dataloaders=_loader(images))
    return model.eval()


def bounded(config: Config, images: Tensor) -> Config:
    """The config with PatchCore's coreset ratio lowered where it would keep more than the limit."""
    patches = len(images) * images.shape[-1] * images.shape[-2] * _PATCHES_PER_PIXEL
    ratio = min(config.coreset_ratio, config.coreset_limit / patches)
    return dataclasses.replace(config, coreset_ratio=ratio)


def _loader(images: Tensor) -> Any:
    from anomalib.data import ImageBatch
    from torch.utils.data import DataLoader

    def collate(rows: list[Tensor]) -> Any:
        return ImageBatch(image=torch.stack(rows))

    return DataLoader(images, batch_size=_BATCH, shuffle=False, collate_fn=collate)  # type: ignore[arg-type]
