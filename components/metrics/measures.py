"""Metrics of images by their anomaly scores and of pixels by anomaly maps, and how fast images are scored.

Scores [n] are raw and of any scale, higher is more anomalous. Labels [n] are True for bad images. Of the n defect
types, those of good images are not read.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.metrics.records import KINDS

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Scores = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.bool_]


def image_metrics(scores: "Scores", labels: "Labels") -> dict[str, float | None]:
    """Image AUROC, average precision, and the best F1 over all thresholds; None where not both kinds occur."""
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    if labels.all() or not labels.any():
        return dict.fromkeys(("image_auroc", "image_ap", "image_f1_max"))
    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / (precision + recall).clip(min=1e-12)
    return {
        "image_auroc": float(roc_auc_score(labels, scores)),
        "image_ap": float(average_precision_score(labels, scores)),
        "image_f1_max": float(f1.max()),
    }


def threshold_metrics(scores: "Scores", labels: "Labels", threshold: float) -> dict[str, float | None]:
    """Share over the threshold of the good images, and of the bad ones (one minus the miss rate); None without any."""
    called = scores > threshold
    shares = {"false_alarm_rate": called[~labels], "recall": called[labels]}
    return {name: float(share.mean()) if len(share) else None for name, share in shares.items()}


def defect_auroc(scores: "Scores", labels: "Labels", defects: Sequence[str]) -> dict[str, float]:
    """Image AUROC of all good images against the bad ones of one defect type, by type in alphabetical order.

    Empty without good images.
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score

    types = np.array(defects)
    found = {}
    for defect in sorted(set(types[labels])) if not labels.all() else ():
        chosen = ~labels | (types == defect)
        found[str(defect)] = float(roc_auc_score(labels[chosen], scores[chosen]))
    return found


def by_kind(metric: str, by_defect: Mapping[str, float]) -> dict[str, float | None]:
    """`METRIC_KIND` of logical and of structural anomalies, and their mean; None where a kind was not measured."""
    values = {kind: by_defect.get(defect) for kind, defect in KINDS.items()}
    measured = [value for value in values.values() if value is not None]
    mean = statistics.fmean(measured) if len(measured) == len(KINDS) else None
    return {**{f"{metric}_{kind}": value for kind, value in values.items()}, f"{metric}_kind_mean": mean}


def aupro(maps: "Scores", masks: "Labels", limit: float) -> float:
    """Area under the per-region overlap up to a false positive rate, scaled to [0, 1].

    Anomaly maps and defect masks are [n, height, width]; the mask of a good image is all False.
    """
    import torch
    from anomalib.data import ImageBatch
    from anomalib.metrics import AUPRO

    metric = AUPRO(fields=["anomaly_map", "gt_mask"], fpr_limit=limit)
    images = torch.zeros(1).expand(len(maps), 3, *maps.shape[1:])
    batch: Any = ImageBatch(image=images, anomaly_map=torch.from_numpy(maps), gt_mask=torch.from_numpy(masks))
    metric.update(batch)
    return float(metric.compute())


def pixel_auroc(maps: "Scores", masks: "Labels") -> float:
    """Area under the ROC curve over all pixels of maps and masks [n, height, width]."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(masks.ravel(), maps.ravel()))


def speed(predict: "Callable[[Tensor], object]", images: "Tensor") -> dict[str, float]:
    """Median milliseconds of single images, and images per second in batches, of images [n, 3, height, width].

    Both on one processor core (or on the GPU, where there is one), after one image that is not counted.
    """

    def seconds(batch: "Tensor") -> float:
        started = time.perf_counter()
        predict(batch)
        return time.perf_counter() - started

    with one_core():
        predict(images[:1])
        latency = statistics.median([seconds(image.unsqueeze(0)) for image in images])
        return {"latency_ms": 1000 * latency, "images_per_second": len(images) / seconds(images)}


@contextmanager
def one_core() -> Iterator[None]:
    """Have torch compute the block in one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
