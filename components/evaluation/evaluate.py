"""Scores the test split with every detector of a run, one after the other in one process."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import artifacts
from components.detectors.detector import Detector
from components.evaluation.config import Config
from components.metrics.records import Record
from components.metrics.scoring import Measured, TestSplit
from components.metrics.validation import HELD_OUT_COLUMNS, Validation, proxy_metrics

if TYPE_CHECKING:
    from components.metrics.measures import Labels, Scores


_IDENTITY = ("detector", "training_set", "seed")


def evaluate_detectors(
    reference: str | Path, detectors: Sequence[str | Path], predictions: str | Path, config: Config
) -> list[Record]:
    """Write scores, anomaly maps and metrics of every detector on the test split, and what the gate needs of it.

    Returned is one record per detector, in their order, with the proxies that its held-out scores give; pixel metrics
    are None where no test image has a mask, those of logical and structural anomalies where there are none, and all
    that needs bad test images where there are none of them. Maps go to the disk as they are computed.
    """
    split, found = TestSplit(reference, **config.model_dump()), _Found()
    shapes = {trial_of(path): split.maps_shape for path in detectors}
    with artifacts.new_directory(predictions) as directory:
        with artifacts.half_tensors(directory / artifacts.ANOMALY_MAPS, shapes) as keep:
            for path in detectors:
                detector = Detector(path)
                found.add(path, detector, split.measure(detector, keep), split)
        found.write(directory)
        evaluation = {"digest": split.digest, **config.model_dump(exclude={"spro_limit"})}
        artifacts.write_json(directory / artifacts.EVALUATION, {**evaluation, "defect_auroc": found.defect_auroc})
    return found.records


def trial_of(detector: str | Path) -> str:
    """`DETECTOR/TRAINING_SET` of a detector's artifact."""
    config = artifacts.read_json(Path(detector) / artifacts.CONFIG)["config"]
    return f"{config['detector']}/{config['training_set']}"


@dataclass
class _Found:
    """What is measured of the detectors so far: records, and the rows of the tables."""

    records: list[Record] = field(default_factory=list)
    scores: list[dict[str, Any]] = field(default_factory=list)
    recall: list[dict[str, Any]] = field(default_factory=list)
    held_out: list[dict[Any, Any]] = field(default_factory=list)
    proxy: list[dict[str, Any]] = field(default_factory=list)
    defect_auroc: dict[str, dict[str, float]] = field(default_factory=dict)

    def add(self, path: str | Path, detector: Detector, measured: Measured, split: TestSplit) -> None:
        """Add what was measured of one detector."""
        record = measured.record.with_metrics({**proxy_metrics(path), **bank_metrics(path)})
        identity = {name: getattr(record, name) for name in _IDENTITY}
        scores, threshold = measured.scores.numpy(), detector.threshold.value
        recalls = {} if threshold is None else defect_recall(scores, split.labels, split.defects, threshold)
        self.scores += [identity | {"id": id, "score": float(own)} for id, own in zip(split.ids, scores, strict=True)]
        self.recall += [identity | {"defect": name, **asdict(own)} for name, own in recalls.items()]
        if (validation := Validation.read(path)) is not None:
            self.proxy += [identity | row for row in validation.by_family(detector.threshold.known)]
            held_out = artifacts.read_table(Path(path) / artifacts.VALIDATION)
            self.held_out += [identity | row for row in held_out.to_dict("records")]
        self.defect_auroc[record.trial] = measured.defect_auroc
        self.records.append(record)

    def write(self, directory: Path) -> None:
        """Write the records and the tables."""
        import pandas as pd

        for name, columns, rows in (
            (artifacts.PREDICTIONS, ("id", "score"), self.scores),
            (artifacts.RECALL, ("defect", "images", "recall"), self.recall),
            (artifacts.VALIDATION, HELD_OUT_COLUMNS, self.held_out),
            (artifacts.PROXY, ("family", "images", "auroc", "recall"), self.proxy),
        ):
            artifacts.write_table(directory / name, pd.DataFrame(rows, columns=[*_IDENTITY, *columns]))
        artifacts.write_json(directory / artifacts.RECORDS, [record.to_json() for record in self.records])


def bank_metrics(detector: str | Path) -> dict[str, float]:
    """Field of a `Record` that says how large a detector's memory bank is; empty where it has none."""
    bank = artifacts.read_json(Path(detector) / artifacts.CONFIG).get("bank")
    return {"bank_patches": float(bank["patches"])} if bank else {}


@dataclass(frozen=True, kw_only=True)
class Recall:
    """What a detector finds of one defect type."""

    images: int
    recall: float
    """Share of these bad images over the detector's threshold."""


def defect_recall(scores: "Scores", labels: "Labels", defects: Sequence[str], threshold: float) -> dict[str, Recall]:
    """Recall by defect type, in alphabetical order; the arguments are those of `components.metrics.measures`."""
    import numpy as np

    types = np.array(defects)
    found = {}
    for defect in sorted(set(types[labels])):
        called = scores[labels & (types == defect)] > threshold
        found[str(defect)] = Recall(images=len(called), recall=float(called.mean()))
    return found
