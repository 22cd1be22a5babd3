"""Metrics of pixels by anomaly maps and defect masks."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from components.metrics.image import Labels, Scores


def pixel_metrics(maps: "Scores", masks: "Labels", aupro_limit: float) -> dict[str, float]:
    """Pixel AUROC, and the area under the per-region overlap up to a false positive rate, scaled to [0, 1].

    Anomaly maps and defect masks are [n, height, width]; the mask of a good image is all False.
    """
    import torch
    from anomalib.data import ImageBatch
    from anomalib.metrics import AUPRO
    from sklearn.metrics import roc_auc_score

    metric = AUPRO(fields=["anomaly_map", "gt_mask"], fpr_limit=aupro_limit)
    images = torch.zeros(len(maps), 3, *maps.shape[1:])
    batch: Any = ImageBatch(image=images, anomaly_map=torch.from_numpy(maps), gt_mask=torch.from_numpy(masks))
    metric.update(batch)
    return {"pixel_auroc": float(roc_auc_score(masks.ravel(), maps.ravel())), "aupro": float(metric.compute())}
