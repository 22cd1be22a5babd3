"""Metrics of images by their anomaly scores.

Scores [n] are raw and of any scale, higher is more anomalous. Labels [n] are True for bad images. Of the n defect
types, those of good images are not read.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from components.metrics.records import KINDS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.bool_]


def image_metrics(scores: "Scores", labels: "Labels") -> dict[str, float]:
    """Image AUROC, average precision, and the best F1 over all thresholds."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / (precision + recall).clip(min=1e-12)
    return {
        "image_auroc": float(roc_auc_score(labels, scores)),
        "image_ap": float(average_precision_score(labels, scores)),
        "image_f1_max": float(f1.max()),
    }


def threshold_metrics(scores: "Scores", labels: "Labels", threshold: float) -> dict[str, float]:
    """Share of the good images over the threshold, and of the bad ones (one minus the miss rate); both kinds occur."""
    called = scores > threshold
    return {"false_alarm_rate": float(called[~labels].mean()), "recall": float(called[labels].mean())}


def defect_auroc(scores: "Scores", labels: "Labels", defects: Sequence[str]) -> dict[str, float]:
    """Image AUROC of all good images against the bad ones of one defect type, by type in alphabetical order."""
    import numpy as np
    from sklearn.metrics import roc_auc_score

    types = np.array(defects)
    found = {}
    for defect in sorted(set(types[labels])):
        chosen = ~labels | (types == defect)
        found[str(defect)] = float(roc_auc_score(labels[chosen], scores[chosen]))
    return found


def by_kind(metric: str, by_defect: Mapping[str, float]) -> dict[str, float | None]:
    """`METRIC_KIND` of logical and of structural anomalies, and their mean; None where a kind was not measured."""
    values = {kind: by_defect.get(defect) for kind, defect in KINDS.items()}
    measured = [value for value in values.values() if value is not None]
    mean = statistics.fmean(measured) if len(measured) == len(KINDS) else None
    return {**{f"{metric}_{kind}": value for kind, value in values.items()}, f"{metric}_kind_mean": mean}
