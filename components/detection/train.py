"""Trains one detector on one training set."""

import time
from pathlib import Path
from typing import Any

from torch import nn

from components.artifacts import new_directory
from components.detection.threshold import find_threshold
from components.detection.training_sets import Sources, load_training_set
from components.detection.validation import validate
from components.detectors.config import Config, Threshold
from components.detectors.detector import fit, save_detector
from components.detectors.table import DETECTORS


def train_detector(
    reference: str | Path,
    augmented: str | Path,
    selected: str | Path,
    detector: str | Path,
    config: Config,
    synthetic: str | Path | None = None,
) -> dict[str, Any]:
    """Train a detector on the image sets of three stages and write its artifact.

    Synthetic defects on the good images are scored where they are given; no detector is trained on them.

    Returned are the number of training images, seconds of training, the size of the memory bank if there is one, the
    threshold with what it rests on, how the detector was validated, and what replaces parts of the detector's paper.
    """
    sources = Sources(reference=reference, augmented=augmented, selected=selected, synthetic=synthetic)
    images = load_training_set(sources, config)
    started = time.perf_counter()
    model = fit(images, config.for_given(images.given), sources.preprocessing)
    seconds = time.perf_counter() - started
    validation, bank = validate(model, sources, config), bank_size(model)
    threshold = find_threshold(model, validation, sources, config)
    facts: dict[str, Any] = {"validation": {"method": validation.method, "note": validation.note}}
    with new_directory(detector) as directory:
        validation.write(directory)
        facts |= {"bank": bank} if bank else {}
        save_detector(model, directory, config, sources.preprocessing, threshold, facts)
    substitutes = [f"{part}: {found}" for part, found in DETECTORS[config.detector].substitutes(config).items()]
    return {
        "training_images": len(images),
        "training_seconds": seconds,
        **{f"bank_{name}": value for name, value in bank.items()},
        **_shown(threshold),
        "validation": validation.method,
        "validation_note": validation.note,
        **({"substitutes": "; ".join(substitutes)} if substitutes else {}),
    }


def bank_size(model: nn.Module) -> dict[str, int]:
    """Patches in the memory bank of a trained detector, and those of the training set; empty where it has none."""
    from components.detectors.placement import bank_detector_of

    network = bank_detector_of(model)
    if network is None:
        return {}
    return {"patches": len(network.bank.patches), "seen": network.bank.seen}


def _shown(threshold: Threshold) -> dict[str, Any]:
    if threshold.value is None:
        return {"threshold_source": threshold.source}
    return {
        "threshold": threshold.value,
        "threshold_source": threshold.source,
        "threshold_images": threshold.images,
        "threshold_lowest_rate": threshold.lowest_rate,
        "threshold_highest_rate": threshold.highest_rate,
    }
