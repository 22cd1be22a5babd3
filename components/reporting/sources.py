"""The artifacts that the report reads, and what it reads from them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import CONFIG, PREDICTIONS, RECORDS, ImageSet, read_json, read_table
from components.metrics.records import read_records

if TYPE_CHECKING:
    import pandas as pd

Curve = tuple[list[float], list[float]]


@dataclass(frozen=True)
class Sources:
    """Paths of the artifacts that the report reads."""

    reference: str | Path
    prompts: str | Path
    augmented: str | Path
    candidates: str | Path
    selected: str | Path
    predictions: str | Path
    best: str | Path


def best_trial(sources: Sources) -> str:
    """`DETECTOR/TRAINING_SET` of the chosen detector."""
    config = read_json(Path(sources.best) / CONFIG)["config"]
    return f"{config['detector']}/{config['training_set']}"


def scored_rows(sources: Sources, trial: str) -> "pd.DataFrame":
    """Predictions of a trial with their images' manifest rows; `position` is the row of the anomaly maps."""
    table = read_table(Path(sources.predictions) / PREDICTIONS)
    own = table[table["detector"] + "/" + table["training_set"] == trial].reset_index(drop=True)
    own["position"] = own.index
    return own.merge(ImageSet(sources.reference).manifest, on="id")


def roc_curves(sources: Sources) -> Mapping[str, Curve]:
    """False and true positive rates, by trial with its image AUROC."""
    from sklearn.metrics import roc_curve

    curves = {}
    for name, rows in _rows_by_trial(sources):
        false_positive, true_positive, _ = roc_curve(rows["label"] == "bad", rows["score"])
        curves[name] = (false_positive.tolist(), true_positive.tolist())
    return curves


def precision_recall_curves(sources: Sources) -> Mapping[str, Curve]:
    """Recall and precision, by trial with its image AUROC."""
    from sklearn.metrics import precision_recall_curve

    curves = {}
    for name, rows in _rows_by_trial(sources):
        precision, recall, _ = precision_recall_curve(rows["label"] == "bad", rows["score"])
        curves[name] = (recall.tolist(), precision.tolist())
    return curves


def _rows_by_trial(sources: Sources) -> "Iterator[tuple[str, pd.DataFrame]]":
    for record in read_records(Path(sources.predictions) / RECORDS):
        yield f"{record.trial} ({record.image_auroc:.3f})", scored_rows(sources, record.trial)
