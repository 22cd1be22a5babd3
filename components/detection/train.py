"""Trains one detector on one training set."""

import time
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from components.artifacts import new_directory
from components.compute import device, seed_everything
from components.detection.memory import return_large_blocks
from components.detection.threshold import find_threshold
from components.detection.trainers import TRAINERS
from components.detection.training_sets import Sources, load_training_set
from components.detectors.config import Config
from components.detectors.table import build_detector, save_detector, substitutes

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
        Number of training images, seconds of training, the threshold with what it rests on, and what stands in for
        parts of the detector's paper.
    """
    return_large_blocks()
    sources = Sources(reference=reference, augmented=augmented, selected=selected)
    images = load_training_set(sources, config)
    started = time.perf_counter()
    model = fit(images, config)
    seconds = time.perf_counter() - started
    threshold = find_threshold(model, sources, config, fit)
    with new_directory(detector) as directory:
        save_detector(model, directory, config, images.shape[-1], threshold)
    values: dict[str, Any] = {"training_images": len(images), "training_seconds": seconds, "threshold": threshold.value}
    values |= {"threshold_source": threshold.source, "threshold_images": threshold.images}
    stand_ins = [f"{part}: {found}" for part, found in substitutes(config).items()]
    return {**values, "substitutes": "; ".join(stand_ins)} if stand_ins else values


def fit(images: Tensor, config: Config) -> nn.Module:
    """Detector of the config trained, from its seed, on images [n, 3, height, width] in [0, 1]."""
    seed_everything(config.seed)
    model = build_detector(bounded(config, images), images.shape[-1]).to(device()).train()
    TRAINERS[config.detector](model, images.to(device()), config)
    return model.eval()


def bounded(config: Config, images: Tensor) -> Config:
    """The config with PatchCore's coreset ratio lowered where it would keep more than the limit."""
    patches = len(images) * images.shape[-1] * images.shape[-2] * _PATCHES_PER_PIXEL
    ratio = min(config.coreset_ratio, config.coreset_limit / patches)
    return config.replace(coreset_ratio=ratio)
