"""Scores the test split with every detector of a run, one after the other in one process."""

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components.artifacts import (
    ANOMALY_MAPS,
    PREDICTIONS,
    RECORDS,
    ImageSet,
    new_directory,
    write_json,
    write_table,
)
from components.comparison import trial_name
from components.detectors import Detector
from components.evaluation.config import Config
from components.evaluation.metrics import image_metrics, pixel_metrics


def evaluate_detectors(
    reference: str | Path, detectors: Sequence[str | Path], predictions: str | Path, config: Config
) -> list[dict[str, Any]]:
    """Write scores, anomaly maps and metrics of every detector on the test split.

    Args:
        reference: image set; its test split is read.
        detectors: artifacts, in the order of the records.
        predictions: artifact to write.
        config: settings.

    Returns:
        One record per detector; pixel metrics are None where no test image has a mask.
    """
    from safetensors.torch import save_file

    images = ImageSet(reference)
    ids = images.ids("test")
    tensor = images.tensor(ids)
    records, rows, maps = [], [], {}
    for path in detectors:
        detector = Detector(path)
        scores, anomaly_maps = detector.predict(tensor)
        record = _identity(detector) | _measure(images, ids, scores, anomaly_maps, config)
        record["latency_ms"] = latency(detector, tensor[: config.latency_images])
        records.append(record)
        rows += [_identity(detector) | {"id": id, "score": float(score)} for id, score in zip(ids, scores, strict=True)]
        maps[trial_name(record)] = anomaly_maps.half()
    with new_directory(predictions) as directory:
        write_table(directory / PREDICTIONS, rows)
        save_file(maps, directory / ANOMALY_MAPS)
        write_json(directory / RECORDS, records)
    return records


def flat_metrics(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Metrics of all records under stable names such as `patchcore.generated.image_auroc`, without the missing ones."""
    return {
        f"{record['detector']}.{record['training_set']}.{name}": float(value)
        for record in records
        for name, value in record.items()
        if name not in ("detector", "training_set", "seed") and value is not None
    }


def latency(detector: Detector, images: Tensor) -> float:
    """Median milliseconds to score one image of [n, 3, height, width], after one that is not counted."""
    detector.predict(images[:1])
    seconds = []
    for image in images:
        started = time.perf_counter()
        detector.predict(image.unsqueeze(0))
        seconds.append(time.perf_counter() - started)
    return 1000 * statistics.median(seconds)


def _identity(detector: Detector) -> dict[str, Any]:
    config = detector.config
    return {"detector": config.detector, "training_set": config.training_set, "seed": config.seed}


def _measure(
    images: ImageSet, ids: Sequence[str], scores: Tensor, maps: Tensor, config: Config
) -> dict[str, float | None]:
    bad = set(images.ids("test", "bad"))
    labels = np.array([id in bad for id in ids])
    metrics: dict[str, float | None] = {**image_metrics(scores.numpy(), labels)}
    masks = [images.mask(id) for id in ids]
    usable = [index for index, mask in enumerate(masks) if mask is not None or not labels[index]]
    if not any(mask is not None for mask in masks):
        return metrics | {"pixel_auroc": None, "aupro": None}
    empty = np.zeros(maps.shape[1:], dtype=bool)
    stacked = np.stack([empty if (mask := masks[index]) is None else mask for index in usable])
    chosen = maps[torch.tensor(usable)].numpy()
    return metrics | pixel_metrics(chosen, stacked, config.aupro_limit)
