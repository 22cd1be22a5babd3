"""Trains one detector on one training set."""

import time
from pathlib import Path
from typing import Any

from components.artifacts import new_directory
from components.detection.threshold import find_threshold
from components.detection.training_sets import Sources, load_training_set
from components.detectors.config import Config
from components.detectors.detector import fit, save_detector
from components.detectors.table import DETECTORS


def train_detector(
    reference: str | Path, augmented: str | Path, selected: str | Path, detector: str | Path, config: Config
) -> dict[str, Any]:
    """Train a detector on the image sets of three stages and write its artifact.

    Returned are the number of training images, seconds of training, the threshold with what it rests on, and what
    replaces parts of the detector's paper.
    """
    sources = Sources(reference=reference, augmented=augmented, selected=selected)
    images = load_training_set(sources, config)
    started = time.perf_counter()
    model = fit(images, config)
    seconds = time.perf_counter() - started
    threshold = find_threshold(model, sources, config)
    with new_directory(detector) as directory:
        save_detector(model, directory, config, images.shape[-1], threshold)
    substitutes = [f"{part}: {found}" for part, found in DETECTORS[config.detector].substitutes(config).items()]
    return {
        "training_images": len(images),
        "training_seconds": seconds,
        "threshold": threshold.value,
        "threshold_source": threshold.source,
        "threshold_images": threshold.images,
        **({"substitutes": "; ".join(substitutes)} if substitutes else {}),
    }
