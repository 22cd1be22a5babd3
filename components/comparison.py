"""Compares the detectors of a run: the gain of the generated set, and which detector is best."""

from collections.abc import Sequence
from typing import Any

from components.errors import InputError

GENERATED = "generated"
METRICS = ("image_auroc", "pixel_auroc", "aupro", "image_ap", "image_f1_max")
"""Metrics of a record for which higher is better."""

Record = dict[str, Any]
"""`{detector, training_set, seed, image_auroc, pixel_auroc, aupro, image_ap, image_f1_max, latency_ms}`."""


def gain(records: Sequence[Record], detector: str, metric: str) -> float | None:
    """Metric of the generated set minus the best of the other sets, for one detector.

    None where the detector was not trained on both, or the metric could not be computed.
    """
    own = [record for record in records if record["detector"] == detector and record[metric] is not None]
    generated = [record[metric] for record in own if record["training_set"] == GENERATED]
    others = [record[metric] for record in own if record["training_set"] != GENERATED]
    if not generated or not others:
        return None
    return float(generated[0] - max(others))


def best_record(records: Sequence[Record], metric: str, min_gain: float) -> Record:
    """The record with the highest metric; one on generated images must win by a positive gain of at least `min_gain`.

    Raises:
        InputError: the metric is None in every record.
    """
    measured = [record for record in records if record[metric] is not None]
    if not measured:
        raise InputError(f"gate.metric: got {metric!r}, which needs masks; expected a metric that was computed")
    ranked = sorted(measured, key=lambda record: (-record[metric], record["training_set"] == GENERATED))
    if ranked[0]["training_set"] != GENERATED:
        return ranked[0]
    others = [record for record in ranked if record["training_set"] != GENERATED]
    if others and ranked[0][metric] - others[0][metric] < min_gain:
        return others[0]
    return ranked[0]


def trial_name(record: Record) -> str:
    """`DETECTOR/TRAINING_SET` of a record."""
    return f"{record['detector']}/{record['training_set']}"
