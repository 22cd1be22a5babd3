"""Scores the test split with every detector of a run, one after the other in one process."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components import artifacts
from components.detectors.detector import Detector
from components.evaluation.config import Config
from components.metrics.records import Record
from components.metrics.scoring import TestSplit
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
    that needs bad test images where there are none of them.
    """
    import pandas as pd
    from safetensors.torch import save_file

    split = TestSplit(reference, **config.model_dump())
    records, rows, recall_rows, proxy_rows, held_out_rows, maps, by_defect = [], [], [], [], [], {}, {}
    for path in detectors:
        detector = Detector(path)
        measured = split.measure(detector)
        record = measured.record.with_metrics({**proxy_metrics(path), **bank_metrics(path)})
        identity = {name: getattr(record, name) for name in _IDENTITY}
        scores = measured.scores.numpy()
        threshold = detector.threshold.value
        recalls = {} if threshold is None else defect_recall(scores, split.labels, split.defects, threshold)
        rows += [identity | {"id": id, "score": float(score)} for id, score in zip(split.ids, scores, strict=True)]
        recall_rows += [identity | {"defect": name, **asdict(found)} for name, found in recalls.items()]
        if (validation := Validation.read(path)) is not None:
            proxy_rows += [identity | row for row in validation.by_family(detector.threshold.known)]
            held_out = artifacts.read_table(Path(path) / artifacts.VALIDATION)
            held_out_rows += [identity | row for row in held_out.to_dict("records")]
        maps[record.trial] = measured.maps.half()
        by_defect[record.trial] = measured.defect_auroc
        records.append(record)
    evaluation = {"digest": split.digest, **config.model_dump(exclude={"spro_limit"})}
    with artifacts.new_directory(predictions) as directory:
        for name, columns, content in (
            (artifacts.PREDICTIONS, ("id", "score"), rows),
            (artifacts.RECALL, ("defect", "images", "recall"), recall_rows),
            (artifacts.VALIDATION, HELD_OUT_COLUMNS, held_out_rows),
            (artifacts.PROXY, ("family", "images", "auroc", "recall"), proxy_rows),
        ):
            artifacts.write_table(directory / name, pd.DataFrame(content, columns=[*_IDENTITY, *columns]))
        save_file(maps, directory / artifacts.ANOMALY_MAPS)
        artifacts.write_json(directory / artifacts.RECORDS, [record.to_json() for record in records])
        artifacts.write_json(directory / artifacts.EVALUATION, {**evaluation, "defect_auroc": by_defect})
    return records


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
