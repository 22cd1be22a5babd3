"""Image and pixel metrics on raw anomaly scores, which may have any scale."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.bool_]


def image_metrics(scores: "Scores", labels: "Labels") -> dict[str, float]:
    """Image AUROC, average precision, and the best F1 over all thresholds.

    Args:
        scores: [n], higher is more anomalous.
        labels: [n], True for bad.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

    precision, recall, _ = precision_recall_curve(labels, scores)
    f1 = 2 * precision * recall / (precision + recall).clip(min=1e-12)
    return {
        "image_auroc": float(roc_auc_score(labels, scores)),
        "image_ap": float(average_precision_score(labels, scores)),
        "image_f1_max": float(f1.max()),
    }


def pixel_metrics(maps: "Scores", masks: "Labels", aupro_limit: float) -> dict[str, float]:
    """Pixel AUROC, and the area under the per-region overlap up to a false positive rate, scaled to [0, 1].

    Args:
        maps: anomaly maps [n, height, width].
        masks: defect masks [n, height, width]; all False for a good image.
        aupro_limit: the false positive rate.
    """
    from sklearn.metrics import roc_auc_score

    return {
        "pixel_auroc": float(roc_auc_score(masks.ravel(), maps.ravel())),
        "aupro": _aupro(maps, masks, aupro_limit),
    }


def _aupro(maps: "Scores", masks: "Labels", limit: float) -> float:
    import torch
    from anomalib.data import ImageBatch
    from anomalib.metrics import AUPRO

    metric = AUPRO(fields=["anomaly_map", "gt_mask"], fpr_limit=limit)
    images = torch.zeros(len(maps), 3, *maps.shape[1:])
    batch: Any = ImageBatch(image=images, anomaly_map=torch.from_numpy(maps), gt_mask=torch.from_numpy(masks))
    metric.update(batch)
    return float(metric.compute())
