"""Compares the detectors of a run: the gain of the generated set, and which detector is best."""

from collections.abc import Sequence
from typing import Any

from components.errors import InputError

GENERATED = "generated"
METRICS = ("image_auroc", "pixel_auroc", "aupro", "image_ap", "image_f1_max")
"""Metrics of a record for which higher is better."""

KINDS = {"logical": "logical_anomalies", "structural": "structural_anomalies"}
"""Kinds of anomalies that MVTec LOCO AD measures apart, and the defect types that stand for them."""
KIND_METRICS = tuple(f"image_auroc_{kind}" for kind in (*KINDS, "kind_mean"))
"""Image AUROC of all good images against the bad ones of each kind, and the mean of both."""
SPRO_METRICS = tuple(f"spro_{kind}" for kind in (*KINDS, "kind_mean"))
"""Area under the saturated per-region overlap of each kind, and the mean of both."""

GATE_METRICS = (*METRICS, *KIND_METRICS)
"""Metrics by which detectors are compared, registered and promoted."""
EXTRA_HEADS = {
    "image_auroc_logical": "image AUROC, logical",
    "image_auroc_structural": "image AUROC, structural",
    "image_auroc_kind_mean": "image AUROC, mean of kinds",
    "spro_logical": "sPRO, logical",
    "spro_structural": "sPRO, structural",
    "spro_kind_mean": "sPRO, mean of kinds",
}
"""What the `KIND_METRICS` and `SPRO_METRICS` are called in a table's head."""

Record = dict[str, Any]
"""`{detector, training_set, seed, image_auroc, pixel_auroc, aupro, image_ap, image_f1_max, threshold, false_alarm_rate,
recall, latency_ms, images_per_second}`, the `KIND_METRICS` and the `SPRO_METRICS`; None where one does not apply."""


def extra_metrics(records: Sequence[Record]) -> list[str]:
    """Those of the `KIND_METRICS` and `SPRO_METRICS` that any record holds, for the columns of a table."""
    return [name for name in EXTRA_HEADS if any(record.get(name) is not None for record in records)]


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


def gains_by_detector(records: Sequence[Record]) -> dict[str, float]:
    """Gain of the generated set in image AUROC by detector, where it can be told."""
    detectors = dict.fromkeys(record["detector"] for record in records)
    gains = {name: gain(records, name, "image_auroc") for name in detectors}
    return {name: value for name, value in gains.items() if value is not None}


def gain_metrics(records: Sequence[Record]) -> dict[str, float]:
    """The gains under stable names such as `patchcore.gain`."""
    return {f"{detector}.gain": value for detector, value in gains_by_detector(records).items()}


def flat_metrics(records: Sequence[Record]) -> dict[str, float]:
    """Metrics of all records under stable names such as `patchcore.generated.image_auroc`, without the missing ones."""
    return {
        f"{trial_name(record).replace('/', '.')}.{name}": float(value)
        for record in records
        for name, value in record.items()
        if name not in ("detector", "training_set", "seed") and value is not None
    }


def best_record(records: Sequence[Record], metric: str, min_gain: float) -> Record:
    """The record with the highest metric; one on generated images must win by a positive gain of at least `min_gain`.

    Raises:
        InputError: the metric is None in every record.
    """
    measured = [record for record in records if record[metric] is not None]
    if not measured:
        raise InputError(
            f"registration.metric: got {metric!r}, which {_needs(metric)}; expected a metric that was computed"
        )
    ranked = sorted(measured, key=lambda record: (-record[metric], record["training_set"] == GENERATED))
    if ranked[0]["training_set"] != GENERATED:
        return ranked[0]
    others = [record for record in ranked if record["training_set"] != GENERATED]
    if others and ranked[0][metric] - others[0][metric] < min_gain:
        return others[0]
    return ranked[0]


def _needs(metric: str) -> str:
    return "needs logical and structural anomalies" if metric in KIND_METRICS else "needs masks"


def trial_name(record: Record) -> str:
    """`DETECTOR/TRAINING_SET` of a record."""
    return f"{record['detector']}/{record['training_set']}"
