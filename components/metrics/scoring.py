"""Scores the test split with a detector and measures the result, on raw scores of any scale.

Evaluation measures the detectors of a run by it, and the gate the champion that they have to beat.
"""

import hashlib
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import __version__
from components.artifacts import CONFIG, ImageSet, read_json
from components.detectors.serving import TORCH, export_runner, runtime_of
from components.detectors.table import Detector
from components.metrics.records import KINDS, Record
from components.metrics.spro import area_under_spro

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Scores = npt.NDArray[np.float32]
    Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a detector does on a test split of n images."""

    record: Record
    defect_auroc: dict[str, float]
    """Per defect type, image AUROC of all good test images against the bad ones of that type alone."""
    defect_recall: dict[str, tuple[int, float]]
    """Per defect type, the number of images and the share of them over the detector's threshold."""
    scores: "Tensor"
    """Raw anomaly scores [n]."""
    maps: "Tensor"
    """Anomaly maps [n, height, width]."""


class TestSplit:
    """The test split of an image set, loaded once for all detectors that are measured on it."""

    __test__ = False

    def __init__(
        self, reference: str | Path, *, aupro_limit: float, latency_images: int, spro_limit: float = 0.0
    ) -> None:
        """Load the test images.

        Args:
            reference: image set.
            aupro_limit: false positive rate up to which the per-region overlap is integrated.
            latency_images: images timed for the latency and the throughput.
            spro_limit: false positive rate up to which the saturated overlap is integrated; 0 leaves it out.
        """
        import numpy as np

        self._images = ImageSet(reference)
        self._aupro_limit = aupro_limit
        self._spro_limit = spro_limit
        self._latency_images = latency_images
        self.ids = self._images.ids("test")
        manifest = self._images.manifest.set_index("id").loc[self.ids]
        self._defects = [str(defect) for defect in manifest["defect"]]
        self._labels = np.array(manifest["label"] == "bad")
        self._tensor = self._images.tensor(self.ids)

    @cached_property
    def digest(self) -> str:
        """Digest of all that decides the gate's metrics but the detector: test images, labels, masks, limit, this code.

        It depends on pixels, not on names, order or encoding. Another digest only means that figures are not compared
        but measured again, so any change of this file or of VIGIL's version makes one.
        """
        code = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
        rows = [
            "\t".join(
                (str(label), defect, _pixels_sha256(self._images.image(id)), _pixels_sha256(self._images.mask(id)))
            )
            for id, label, defect in zip(self.ids, self._labels, self._defects, strict=True)
        ]
        content = [f"vigil {__version__} {code}", f"aupro_limit {self._aupro_limit!r}", *sorted(rows)]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def measure(self, detector: Detector) -> Measured:
        """Score the images and measure the result; pixel metrics are None where no test image has a mask.

        A detector that was trained at another size than the images have gets them, and gives its maps, resized.
        """
        config = detector.config
        images = _resized(self._tensor, detector.image_size)
        scores, maps = detector.predict(images)
        maps = _resized(maps.unsqueeze(1), self._tensor.shape[-1]).squeeze(1)
        by_defect = defect_auroc(scores.numpy(), self._labels, self._defects)
        threshold = detector.threshold.value
        return Measured(
            record=Record(
                detector=config.detector,
                training_set=config.training_set,
                seed=config.seed,
                threshold=threshold,
                **image_metrics(scores.numpy(), self._labels),
                **self._pixel_metrics(maps),
                **by_kind("image_auroc", by_defect),
                **by_kind("spro", self._spro(maps)),
                **threshold_metrics(scores.numpy(), self._labels, threshold),
                **speed(detector.predict, images[: self._latency_images]),
            ),
            defect_auroc=by_defect,
            defect_recall=defect_recall(scores.numpy(), self._labels, self._defects, threshold),
            scores=scores,
            maps=maps,
        )

    def export_speed(self, path: Path) -> dict[str, float]:
        """The `speed` of the export in a detector artifact; empty where its checkpoint is what is served."""
        kind = runtime_of(path)
        if kind == TORCH:
            return {}
        run = export_runner(path, kind, threads=1)
        images = _resized(self._tensor[: self._latency_images], read_json(path / CONFIG)["image_size"])

        def predict(batch: "Tensor") -> None:
            for image in batch:
                run(image.unsqueeze(0).numpy())

        return speed(predict, images)

    def _spro(self, maps: "Tensor") -> dict[str, float]:
        """Area under sPRO of all good images and the bad ones of one kind, for the kinds whose regions are known."""
        found: dict[str, float] = {}
        for kind in KINDS.values() if self._spro_limit else ():
            chosen = [index for index, defect in enumerate(self._defects) if not self._labels[index] or defect == kind]
            regions = [self._images.regions(self.ids[index]) for index in chosen]
            if any(regions):
                masks = self._masks(chosen)
                found[kind] = area_under_spro(maps[chosen].numpy(), masks, regions, self._spro_limit)
        return found

    def _pixel_metrics(self, maps: "Tensor") -> dict[str, float | None]:
        masks = [self._images.mask(id) for id in self.ids]
        if not any(mask is not None for mask in masks):
            return {"pixel_auroc": None, "aupro": None}
        usable = [index for index, mask in enumerate(masks) if mask is not None or not self._labels[index]]
        return {**pixel_metrics(maps[usable].numpy(), self._masks(usable), self._aupro_limit)}

    def _masks(self, chosen: Sequence[int]) -> "Labels":
        """Masks [len(chosen), height, width] of the images with these indices; empty for those that have none."""
        import numpy as np

        empty = np.zeros(self._tensor.shape[-2:], dtype=bool)
        masks = [self._images.mask(self.ids[index]) for index in chosen]
        return np.stack([empty if mask is None else mask for mask in masks])


def speed(predict: "Callable[[Tensor], object]", images: "Tensor") -> dict[str, float]:
    """Median milliseconds of single images, and images per second in batches, of images [n, 3, height, width].

    Both on one processor core (or on the GPU, where there is one), after one image that is not counted.
    """
    with one_core():
        predict(images[:1])
        single = [_seconds(predict, image.unsqueeze(0)) for image in images]
        return {
            "latency_ms": 1000 * statistics.median(single),
            "images_per_second": len(images) / _seconds(predict, images),
        }


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


def threshold_metrics(scores: "Scores", labels: "Labels", threshold: float) -> dict[str, float]:
    """Share of the good images over the threshold, and of the bad ones (one minus the miss rate).

    Args:
        scores: [n], higher is more anomalous.
        labels: [n], True for bad; both kinds occur.
        threshold: score above which an image is called anomalous.
    """
    called = scores > threshold
    return {"false_alarm_rate": float(called[~labels].mean()), "recall": float(called[labels].mean())}


def defect_recall(
    scores: "Scores", labels: "Labels", defects: Sequence[str], threshold: float
) -> dict[str, tuple[int, float]]:
    """Number of bad images and the share of them over the threshold, by defect type in alphabetical order.

    Args:
        scores: [n], higher is more anomalous.
        labels: [n], True for bad.
        defects: n defect types; those of good images are not read.
        threshold: score above which an image is called anomalous.
    """
    import numpy as np

    types = np.array(defects)
    found = {}
    for defect in sorted(set(types[labels])):
        called = scores[labels & (types == defect)] > threshold
        found[str(defect)] = (len(called), float(called.mean()))
    return found


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


def defect_auroc(scores: "Scores", labels: "Labels", defects: Sequence[str]) -> dict[str, float]:
    """Image AUROC of all good images against the bad ones of one defect type, by type in alphabetical order.

    Args:
        scores: [n], higher is more anomalous.
        labels: [n], True for bad.
        defects: n defect types; those of good images are not read.
    """
    import numpy as np
    from sklearn.metrics import roc_auc_score

    types = np.array(defects)
    found = {}
    for defect in sorted(set(types[labels])):
        chosen = ~labels | (types == defect)
        found[str(defect)] = float(roc_auc_score(labels[chosen], scores[chosen]))
    return found


def by_kind(metric: str, by_defect: Mapping[str, float]) -> dict[str, float | None]:
    """A metric of logical and of structural anomalies apart, and the mean of both; None where one was not measured.

    Args:
        metric: its name, the prefix of the keys.
        by_defect: its value by defect type.
    """
    values = {kind: by_defect.get(defect) for kind, defect in KINDS.items()}
    measured = [value for value in values.values() if value is not None]
    mean = statistics.fmean(measured) if len(measured) == len(KINDS) else None
    return {**{f"{metric}_{kind}": value for kind, value in values.items()}, f"{metric}_kind_mean": mean}


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


def _seconds(predict: "Callable[[Tensor], object]", images: "Tensor") -> float:
    started = time.perf_counter()
    predict(images)
    return time.perf_counter() - started


def _resized(images: "Tensor", size: int) -> "Tensor":
    """Square images [n, channels, height, width] at another size, by bilinear interpolation."""
    from torch.nn.functional import interpolate

    if images.shape[-1] == size:
        return images
    return interpolate(images, size=(size, size), mode="bilinear", antialias=True)


def _pixels_sha256(pixels: "npt.NDArray[Any] | None") -> str:
    """Digest of an array's shape and values; empty without one."""
    return "" if pixels is None else hashlib.sha256(f"{pixels.shape}".encode() + pixels.tobytes()).hexdigest()
