"""What evaluation measures of each detector, and the comparison of a run's detectors by it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from components.artifacts import read_json
from components.errors import InputError

GENERATED = "generated"
SIMPLE_FIRST = ("rotations", "augmented", "repeated", GENERATED)
"""Parts of training sets, those that need less first."""
METRIC_HEADS = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
}
"""What the `METRICS` are called in the head of a page's table."""
METRICS = tuple(METRIC_HEADS)
"""Metrics of a record for which higher is better."""

KINDS = {"logical": "logical_anomalies", "structural": "structural_anomalies"}
"""Kinds of anomalies that MVTec LOCO AD measures apart, and the defect types that stand for them."""
KIND_METRICS = tuple(f"image_auroc_{kind}" for kind in (*KINDS, "kind_mean"))
"""Image AUROC of all good images against the bad ones of each kind, and the mean of both."""
PIXEL_METRICS = tuple(f"pixel_auroc_{kind}" for kind in (*KINDS, "kind_mean"))
"""Pixel AUROC of the good images and the bad ones of each kind, and the mean of both."""
SPRO_METRICS = tuple(f"spro_{kind}" for kind in (*KINDS, "kind_mean"))
"""Area under the saturated per-region overlap of each kind, and the mean of both."""

GATE_METRICS = (*METRICS, *KIND_METRICS)
"""Metrics by which detectors are compared, registered and promoted."""
EXTRA_HEADS = {
    "image_auroc_logical": "image AUROC, logical",
    "image_auroc_structural": "image AUROC, structural",
    "image_auroc_kind_mean": "image AUROC, mean of kinds",
    "pixel_auroc_logical": "pixel AUROC, logical",
    "pixel_auroc_structural": "pixel AUROC, structural",
    "pixel_auroc_kind_mean": "pixel AUROC, mean of kinds",
    "spro_logical": "sPRO, logical",
    "spro_structural": "sPRO, structural",
    "spro_kind_mean": "sPRO, mean of kinds",
}
"""What the `KIND_METRICS`, `PIXEL_METRICS` and `SPRO_METRICS` are called in a table's head."""

PROXY_METRIC = "proxy_image_auroc"
"""Image AUROC of held-out good images against synthetic defects: never what `image_auroc` is."""
PROXY_HEADS = {
    PROXY_METRIC: "proxy AUROC",
    "proxy_recall": "proxy recall",
    "validation_false_alarm_rate": "false alarms, held out",
}
"""What is measured without the test split, and its heads in a table."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Metrics of one detector, 0 to 1 unless noted; None where not measured or not applicable.

    They are those of the test split but for the proxies, of synthetic defects, and the validation, of held-out images.
    Without bad test images all that needs them is None.
    """

    detector: str
    training_set: str
    """Images it was trained on beside the given ones: `none`, or parts such as `rotations+generated`."""
    seed: int | None
    """Seed of the training; None where an earlier run did not log it."""
    image_auroc: float | None = None
    """Area under the ROC curve over the images' scores."""
    pixel_auroc: float | None = None
    """Area under the ROC curve over the anomaly maps' values; None without masks."""
    aupro: float | None = None
    """Area under the per-region overlap, scaled to 0 to 1; None without masks."""
    image_ap: float | None = None
    """Average precision of the images' scores."""
    image_f1_max: float | None = None
    """Best F1 over all thresholds."""
    image_auroc_logical: float | None = None
    """Image AUROC of all good images against those with logical anomalies (MVTec LOCO AD)."""
    image_auroc_structural: float | None = None
    image_auroc_kind_mean: float | None = None
    """Mean of the two image AUROCs by kind."""
    pixel_auroc_logical: float | None = None
    """Pixel AUROC over all good images and those with logical anomalies (MVTec LOCO AD)."""
    pixel_auroc_structural: float | None = None
    pixel_auroc_kind_mean: float | None = None
    """Mean of the two pixel AUROCs by kind."""
    spro_logical: float | None = None
    """Area under the saturated per-region overlap (sPRO) of logical anomalies."""
    spro_structural: float | None = None
    spro_kind_mean: float | None = None
    threshold: float | None = None
    """Raw score above which the detector calls an image anomalous."""
    false_alarm_rate: float | None = None
    """Share of the good images over the threshold."""
    promised_false_alarm_rate: float | None = None
    """Share to expect by the threshold: its `promised_rate`."""
    recall: float | None = None
    """Share of the bad images over the threshold."""
    latency_ms: float | None = None
    """Median milliseconds to score one image on one core."""
    images_per_second: float | None = None
    """Throughput in batches on one core."""
    bank_patches: float | None = None
    """Patches in the detector's memory bank; None for one that has none."""
    proxy_image_auroc: float | None = None
    """Area under the ROC curve of held-out good images against the synthetic defects on them, scored by detectors that
    have seen neither; a proxy, None with fewer than two such images."""
    proxy_standard_error: float | None = None
    """Of the proxy, by leaving out one good image at a time."""
    proxy_recall: float | None = None
    """Share of the synthetic defects over the threshold."""
    validation_false_alarm_rate: float | None = None
    """Share of the held-out good images over the threshold."""
    validation_images: float | None = None
    """Number of the held-out good images."""

    @property
    def trial(self) -> str:
        """`DETECTOR/TRAINING_SET`."""
        return f"{self.detector}/{self.training_set}"

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics that were measured, by name."""
        return {name: value for name, value in asdict(self).items() if name not in _IDENTITY and value is not None}

    def metric(self, name: str) -> float | None:
        """A metric by its name; another name raises `KeyError`."""
        if name in _IDENTITY:
            raise KeyError(name)
        value: float | None = asdict(self)[name]
        return value

    def with_metrics(self, values: Mapping[str, float | None]) -> Self:
        """The record with other values of some metrics."""
        return self.from_json({**self.to_json(), **values})

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The record of a JSON object, which may lack metrics; other missing or unknown keys raise `InputError`."""
        unknown = sorted(content.keys() - {field.name for field in fields(cls)})
        missing = [name for name in _IDENTITY if name not in content]
        if unknown or missing:
            raise InputError(f"record: got unknown keys {unknown}, missing keys {missing}; expected those of a record")
        return cls(**content)

    def to_json(self) -> dict[str, Any]:
        """JSON object with every field."""
        return asdict(self)


_IDENTITY = ("detector", "training_set", "seed")


def read_records(path: Path) -> list[Record]:
    """The records of a JSON file; an object that is no record raises `InputError`."""
    return [Record.from_json(content) for content in read_json(path)]


def uses_generated(training_set: str) -> bool:
    """Whether a training set has generated images."""
    return GENERATED in training_set.split("+")


def simplicity(training_set: str) -> tuple[int, int, int]:
    """Order of training sets: those with generated images last, then by their number of parts, then by the parts."""
    parts = [part for part in training_set.split("+") if part != "none"]
    places = [SIMPLE_FIRST.index(part) if part in SIMPLE_FIRST else len(SIMPLE_FIRST) for part in parts]
    return int(uses_generated(training_set)), len(parts), sum(places)


def extra_metrics(records: Sequence[Record]) -> list[str]:
    """Those of the `EXTRA_HEADS` that any record holds, for the columns of a table."""
    return [name for name in EXTRA_HEADS if any(record.metric(name) is not None for record in records)]


def gain(records: Sequence[Record], detector: str, metric: str) -> float | None:
    """Metric of the generated set minus the best without generated images, of one detector; None without either."""
    own = [(record.training_set, record.metric(metric)) for record in records if record.detector == detector]
    generated = [value for name, value in own if name == GENERATED and value is not None]
    others = [value for name, value in own if not uses_generated(name) and value is not None]
    return generated[0] - max(others) if generated and others else None


def gains_by_detector(records: Sequence[Record]) -> dict[str, float]:
    """Gain of the generated set in image AUROC by detector, where it was measured."""
    detectors = dict.fromkeys(record.detector for record in records)
    gains = {name: gain(records, name, "image_auroc") for name in detectors}
    return {name: value for name, value in gains.items() if value is not None}


def gain_metrics(records: Sequence[Record]) -> dict[str, float]:
    """The gains under stable names such as `patchcore.gain`."""
    return {f"{detector}.gain": value for detector, value in gains_by_detector(records).items()}


def flat_metrics(records: Sequence[Record]) -> dict[str, float]:
    """Metrics of all records under stable names such as `patchcore.generated.image_auroc`, without the missing ones.

    The parts of a training set are joined by `-`, since MLflow refuses a name with `+`.
    """
    return {
        f"{record.detector}.{record.training_set.replace('+', '-')}.{name}": value
        for record in records
        for name, value in record.metrics.items()
    }


def best_record(records: Sequence[Record], metric: str, min_gain: float) -> Record:
    """The record with the highest metric; one on generated images must win by a positive gain of at least `min_gain`.

    A metric that is None in every record raises `InputError`.
    """
    measured = [(record, value) for record in records if (value := record.metric(metric)) is not None]
    if not measured:
        kinds = {"image_auroc": "bad test images", "image_ap": "bad test images", "image_f1_max": "bad test images"}
        needs = "logical and structural anomalies" if metric in KIND_METRICS else kinds.get(metric, "masks")
        raise InputError(f"registration.metric: got {metric!r}, which needs {needs}; expected a measured metric")
    ranked = sorted(measured, key=lambda pair: (-pair[1], uses_generated(pair[0].training_set)))
    best, highest = ranked[0]
    others = [(record, value) for record, value in ranked if not uses_generated(record.training_set)]
    if uses_generated(best.training_set) and others and highest - others[0][1] < min_gain:
        return others[0][0]
    return best
