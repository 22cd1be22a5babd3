"""Scores the test split with every detector of a run, one after the other in one process."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.artifacts import (
    ANOMALY_MAPS,
    EVALUATION,
    PREDICTIONS,
    RECALL,
    RECORDS,
    new_directory,
    write_json,
    write_table,
)
from components.detectors.table import Detector
from components.evaluation.config import Config
from components.metrics.records import Record
from components.metrics.scoring import Measured, TestSplit


def evaluate_detectors(
    reference: str | Path, detectors: Sequence[str | Path], predictions: str | Path, config: Config
) -> list[Record]:
    """Write scores, anomaly maps and metrics of every detector on the test split, and what the gate needs of it.

    Args:
        reference: image set; its test split is read.
        detectors: artifacts, in the order of the records.
        predictions: artifact to write.
        config: settings.

    Returns:
        One record per detector; pixel metrics are None where no test image has a mask, and those of logical and
        structural anomalies where there are none.
    """
    from safetensors.torch import save_file

    split = TestSplit(
        reference,
        aupro_limit=config.aupro_limit,
        latency_images=config.latency_images,
        spro_limit=config.spro_limit,
    )
    measured = [split.measure(Detector(path)) for path in detectors]
    records = [found.record for found in measured]
    evaluation = {
        "digest": split.digest,
        "aupro_limit": config.aupro_limit,
        "latency_images": config.latency_images,
        "defect_auroc": {found.record.trial: found.defect_auroc for found in measured},
    }
    with new_directory(predictions) as directory:
        write_table(directory / PREDICTIONS, [row for found in measured for row in _rows(found, split.ids)])
        write_table(directory / RECALL, [row for found in measured for row in _recall_rows(found)])
        save_file({found.record.trial: found.maps.half() for found in measured}, directory / ANOMALY_MAPS)
        write_json(directory / RECORDS, [record.to_json() for record in records])
        write_json(directory / EVALUATION, evaluation)
    return records


def _rows(measured: Measured, ids: Sequence[str]) -> list[dict[str, Any]]:
    identity = _identity(measured)
    return [identity | {"id": id, "score": float(score)} for id, score in zip(ids, measured.scores, strict=True)]


def _recall_rows(measured: Measured) -> list[dict[str, Any]]:
    identity = _identity(measured)
    return [
        identity | {"defect": defect, "images": count, "recall": recall}
        for defect, (count, recall) in measured.defect_recall.items()
    ]


def _identity(measured: Measured) -> dict[str, Any]:
    record = measured.record
    return {"detector": record.detector, "training_set": record.training_set, "seed": record.seed}
