"""Scores the test split with a detector and measures the result, on raw scores of any scale.

Evaluation measures the detectors of a run by it, and the gate the champion that they have to beat.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components import __version__
from components.artifacts import ImageSet
from components.metrics import measures
from components.metrics.records import KINDS, Record
from components.metrics.spro import area_under_spro

if TYPE_CHECKING:
    from torch import Tensor

    from components.metrics.measures import Labels

MEASUREMENT_VERSION = 1
"""Of the metrics by which detectors are compared: raise it when their values change for the same scores and maps."""


class ScoringDetector(Protocol):
    """What is asked of a trained detector, see `components.detectors.detector.Detector`."""

    config: Any
    threshold: Any

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the images that it scores."""

    def predict(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """Raw anomaly scores [n] and anomaly maps [n, height, width] of images [n, 3, height, width] in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a detector does on a test split: metrics, raw anomaly scores [n] and anomaly maps [n, height, width]."""

    record: Record
    defect_auroc: dict[str, float]
    """Per defect type, image AUROC of all good test images against the bad ones of that type alone."""
    scores: "Tensor"
    maps: "Tensor"


class TestSplit:
    """The test split of an image set, loaded once for all detectors that are measured on it.

    It may hold good images only, or none: what cannot be measured then is None.
    """

    __test__ = False

    def __init__(
        self, reference: str | Path, *, aupro_limit: float, latency_images: int, spro_limit: float = 0.0
    ) -> None:
        """Load the test images of an image set; the settings are those of evaluation's config.

        Without any, the speed is measured on given images.
        """
        import numpy as np

        self._images = ImageSet(reference)
        self._aupro_limit = aupro_limit
        self._spro_limit = spro_limit
        self.ids = self._images.ids("test")
        manifest = self._images.manifest.set_index("id").loc[self.ids]
        self.defects = [str(defect) for defect in manifest["defect"]]
        self.labels = np.array(manifest["label"] == "bad")
        given = self._images.ids("train")[:latency_images]
        timed = self._images.tensor(self.ids or given)
        self._tensor = timed if self.ids else timed[:0]
        self._timed = timed[:latency_images]

    @cached_property
    def digest(self) -> str:
        """Digest of all that decides the gate's metrics but the detector: test images, labels, masks, limit, versions.

        It depends on pixels, not on names, order or encoding. Metrics with another digest are not compared but measured
        again.
        """
        head = [f"vigil {__version__} measurement {MEASUREMENT_VERSION}", f"aupro_limit {self._aupro_limit!r}"]
        rows = []
        for id, label, defect in zip(self.ids, self.labels, self.defects, strict=True):
            arrays = (self._images.image(id), self._images.mask(id))
            contents = (None if pixels is None else f"{pixels.shape}".encode() + pixels.tobytes() for pixels in arrays)
            digests = ("" if content is None else hashlib.sha256(content).hexdigest() for content in contents)
            rows.append("\t".join((str(label), defect, *digests)))
        return hashlib.sha256("\n".join([*head, *sorted(rows)]).encode()).hexdigest()

    def measure(self, detector: ScoringDetector) -> Measured:
        """Score the images and measure the result; pixel metrics are None where no test image has a mask.

        A detector that was trained at another size than the images have gets them, and gives its maps, resized.
        """
        config = detector.config
        scores, maps = self._tensor[:, 0, 0, 0], self._tensor[:, 0]
        if self.ids:
            scores, maps = detector.predict(_resized(self._tensor, detector.input_size))
            height, width = self._tensor.shape[-2:]
            maps = _resized(maps.unsqueeze(1), (width, height)).squeeze(1)
        by_defect = measures.defect_auroc(scores.numpy(), self.labels, self.defects)
        threshold, promised = detector.threshold.value, detector.threshold.promised_rate
        return Measured(
            record=Record(
                detector=config.detector,
                training_set=config.training_set,
                seed=config.seed,
                threshold=threshold,
                promised_false_alarm_rate=promised,
                **measures.image_metrics(scores.numpy(), self.labels),
                **measures.by_kind("image_auroc", by_defect),
                **self._map_metrics(maps),
                **({} if threshold is None else measures.threshold_metrics(scores.numpy(), self.labels, threshold)),
                **self.speed(detector.predict, detector.input_size),
            ),
            defect_auroc=by_defect,
            scores=scores,
            maps=maps,
        )

    def speed(self, predict: "Callable[[Tensor], object] | None", input_size: tuple[int, int]) -> dict[str, float]:
        """The `measures.speed` on some of the images at a detector's size; empty without what scores them."""
        return measures.speed(predict, _resized(self._timed, input_size)) if predict else {}

    def _map_metrics(self, maps: "Tensor") -> dict[str, float | None]:
        """Pixel metrics of good images and bad ones with a mask, if any; by kind, and sPRO where regions are known."""
        masked = [self._images.mask(id) is not None for id in self.ids]
        usable = [index for index, has_mask in enumerate(masked) if has_mask or not self.labels[index]]
        pixels = {}
        if any(masked):
            pixels = measures.pixel_metrics(maps[usable].numpy(), self._masks(usable), self._aupro_limit)
        spro, by_kind = dict[str, float](), dict[str, float]()
        for kind in [name for name in KINDS.values() if name in self.defects]:
            chosen = [index for index, defect in enumerate(self.defects) if not self.labels[index] or defect == kind]
            masks, known = self._masks(chosen), [place for place, index in enumerate(chosen) if index in usable]
            if masks.any() and not masks.all():
                by_kind[kind] = measures.pixel_auroc(maps[chosen][known].numpy(), masks[known])
            regions = [self._images.regions(self.ids[index]) for index in chosen] if self._spro_limit else []
            if any(regions):
                spro[kind] = area_under_spro(maps[chosen].numpy(), masks, regions, self._spro_limit)
        return {**pixels, **measures.by_kind("pixel_auroc", by_kind), **measures.by_kind("spro", spro)}

    def _masks(self, chosen: Sequence[int]) -> "Labels":
        """Masks [len(chosen), height, width] of the images with these indices; empty for those that have none."""
        import numpy as np

        empty = np.zeros(self._tensor.shape[-2:], dtype=bool)
        masks = [self._images.mask(self.ids[index]) for index in chosen]
        return np.stack([empty if mask is None else mask for mask in masks])


def _resized(images: "Tensor", size: tuple[int, int]) -> "Tensor":
    """Images [n, channels, height, width] in another width and height, by bilinear interpolation."""
    from torch.nn.functional import interpolate

    width, height = size
    if images.shape[-2:] == (height, width):
        return images
    return interpolate(images, size=(height, width), mode="bilinear", antialias=True)
