"""What Kubeflow's page shows of an evaluation: ROC curve and confusion at the threshold, of its best detector."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from components.artifacts import PREDICTIONS, RECORDS, ImageSet, read_table, write_json
from components.metrics.records import Record, read_records

CATEGORIES = ("good", "bad")
_MOST_POINTS = 200


class CurveSink(Protocol):
    """KFP's ClassificationMetrics artifact."""

    path: str

    def log_roc_curve(self, fpr: list[float], tpr: list[float], threshold: list[float]) -> None:
        """Record a ROC curve."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Record a matrix whose rows are what images are, and whose columns are what they are called."""


def show_classification(reference: str | Path, predictions: str | Path, sink: CurveSink) -> None:
    """Record the curve and the confusion of the detector with the highest image AUROC, else of the first.

    Where the test split has good or bad images alone there is no curve, and where no threshold is known no confusion.
    """
    record = _best(read_records(Path(predictions) / RECORDS))
    table = read_table(Path(predictions) / PREDICTIONS)
    own = table[(table["detector"] == record.detector) & (table["training_set"] == record.training_set)]
    labels = ImageSet(reference).manifest.set_index("id")["label"]
    bad, scores = [label == "bad" for label in labels.loc[own["id"]]], [float(score) for score in own["score"]]
    content: dict[str, object] = {"trial": record.trial}
    if len(set(bad)) == len(CATEGORIES):
        content["roc"] = curve = roc_points(bad, scores)
        sink.log_roc_curve(*curve)
    if record.threshold is not None:
        content["confusion"] = matrix = confusion(bad, scores, record.threshold)
        sink.log_confusion_matrix(list(CATEGORIES), matrix)
    # KFP keeps them in the metadata only, and its local cache misses on an artifact without a file.
    write_json(Path(sink.path), content)


def roc_points(bad: Sequence[bool], scores: Sequence[float]) -> tuple[list[float], list[float], list[float]]:
    """False and true positive rates and their thresholds, at most 200, all finite.

    The first threshold, above every score, is infinite in scikit-learn, and no number of JSON.
    """
    import numpy as np
    from sklearn.metrics import roc_curve

    false_positive, true_positive, thresholds = roc_curve(bad, scores)
    thresholds[0] = np.nextafter(np.float64(max(scores)), np.inf)
    shown = np.unique(np.linspace(0, len(thresholds) - 1, min(len(thresholds), _MOST_POINTS)).round().astype(int))
    return false_positive[shown].tolist(), true_positive[shown].tolist(), thresholds[shown].tolist()


def confusion(bad: Sequence[bool], scores: Sequence[float], threshold: float) -> list[list[int]]:
    """Counts: rows of the good and of the bad images, columns of those called good and called bad."""
    counts = [[0, 0], [0, 0]]
    for is_bad, score in zip(bad, scores, strict=True):
        counts[int(is_bad)][int(score > threshold)] += 1
    return counts


def _best(records: Sequence[Record]) -> Record:
    measured = [(record.image_auroc, record) for record in records if record.image_auroc is not None]
    return max(measured, key=lambda pair: pair[0])[1] if measured else records[0]
