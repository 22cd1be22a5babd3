"""Scores the test split with a detector and measures the result, on raw scores of any scale.

Evaluation measures the detectors of a run by it, and the gate the champion that they have to beat.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components import __version__
from components.artifacts import ImageSet, Region
from components.metrics import measures
from components.metrics.pixels import EXACT_PIXELS, Pixels, pixels_of
from components.metrics.records import KINDS, Record

if TYPE_CHECKING:
    from torch import Tensor

    from components.metrics.measures import Labels, Scores

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
    """What a detector does on a test split: metrics, and raw anomaly scores [n]."""

    record: Record
    defect_auroc: dict[str, float]
    """Per defect type, image AUROC of all good test images against the bad ones of that type alone."""
    scores: "Tensor"


class TestSplit:
    """The test split of an image set, of which a few images at a time are read for each detector.

    It may hold good images only, or none: what cannot be measured then is None.
    """

    __test__ = False

    def __init__(
        self, reference: str | Path, *, aupro_limit: float, latency_images: int, spro_limit: float = 0.0
    ) -> None:
        """Read the rows of an image set, and the images that are timed; the settings are those of evaluation's config.

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
        self._timed = self._images.tensor((self.ids or self._images.ids("train"))[:latency_images])

    @property
    def maps_shape(self) -> tuple[int, int, int]:
        """Number, height and width of a detector's anomaly maps."""
        height, width = self._timed.shape[-2:]
        return len(self.ids), height, width

    @cached_property
    def digest(self) -> str:
        """Digest of all that decides the gate's metrics but the detector: test images, labels, masks, limit, versions.

        It depends on pixels, not on names, order or encoding. Metrics with another digest are not compared but measured
        again.
        """
        head = [f"vigil {__version__} measurement {MEASUREMENT_VERSION}", f"aupro_limit {self._aupro_limit!r}"]
        head += ["pixels in bins"] if math.prod(self.maps_shape) > EXACT_PIXELS else []
        rows = []
        for id, label, defect in zip(self.ids, self.labels, self.defects, strict=True):
            arrays = (self._images.image(id), self._images.mask(id))
            contents = (None if pixels is None else f"{pixels.shape}".encode() + pixels.tobytes() for pixels in arrays)
            digests = ("" if content is None else hashlib.sha256(content).hexdigest() for content in contents)
            rows.append("\t".join((str(label), defect, *digests)))
        return hashlib.sha256("\n".join([*head, *sorted(rows)]).encode()).hexdigest()

    def measure(self, detector: ScoringDetector, keep: "Callable[[Tensor], None] | None" = None) -> Measured:
        """Score the images and measure the result; pixel metrics are None where no test image has a mask.

        A detector that was trained at another size than the images have gets them, and gives its maps, resized. `keep`
        is handed the maps of some images at a time, [k, height, width].
        """
        import torch

        config, map_metrics = detector.config, _MapMetrics(self.maps_shape, self.defects, self._spro_limit)
        parts = [torch.empty(0)]
        indices = iter(range(len(self.ids)))
        for images in self._images.batches(self.ids):
            own, maps = self._scored(detector, images)
            parts.append(own)
            if keep:
                keep(maps)
            for map in maps.numpy():
                self._add(map_metrics, next(indices), map)
        scores = torch.cat(parts)
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
                **map_metrics.compute(self._aupro_limit),
                **({} if threshold is None else measures.threshold_metrics(scores.numpy(), self.labels, threshold)),
                **self.speed(detector.predict, detector.input_size),
            ),
            defect_auroc=by_defect,
            scores=scores,
        )

    def speed(self, predict: "Callable[[Tensor], object] | None", input_size: tuple[int, int]) -> dict[str, float]:
        """The `measures.speed` on some of the images at a detector's size; empty without what scores them."""
        return measures.speed(predict, _resized(self._timed, input_size)) if predict else {}

    def _scored(self, detector: ScoringDetector, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """Scores [k] and maps [k, height, width] of some images, in the size of the test split."""
        scores, maps = detector.predict(_resized(images, detector.input_size))
        _, height, width = self.maps_shape
        return scores, _resized(maps.unsqueeze(1), (width, height)).squeeze(1)

    def _add(self, metrics: "_MapMetrics", index: int, map: "Scores") -> None:
        id = self.ids[index]
        regions = self._images.regions(id) if self._spro_limit else []
        metrics.add(map, self._images.mask(id), regions, self.defects[index] if self.labels[index] else None)


class _MapMetrics:
    """Pixel metrics of good images and bad ones with a mask, if any; by kind, and sPRO where regions are known."""

    def __init__(self, shape: tuple[int, int, int], defects: Sequence[str], spro_limit: float) -> None:
        kinds = [name for name in KINDS.values() if name in defects]

        def new() -> Pixels:
            return pixels_of(math.prod(shape))

        self._all, self._by_kind = new(), {kind: new() for kind in kinds}
        self._regions = {kind: new() for kind in kinds} if spro_limit else {}
        self._spro_limit = spro_limit

    def add(self, map: "Scores", mask: "Labels | None", regions: Sequence[Region], defect: str | None) -> None:
        """Take one image in; the defect of a good image is None."""
        import numpy as np

        marked = np.zeros(map.shape, dtype=bool) if mask is None else mask
        kinds = [kind for kind in self._by_kind if defect in (None, kind)]
        if mask is not None or defect is None:
            for pixels in (self._all, *(self._by_kind[kind] for kind in kinds)):
                pixels.add(map, marked)
        for kind in kinds if self._regions else ():
            self._regions[kind].add(map, marked, regions)

    def compute(self, aupro_limit: float) -> dict[str, float | None]:
        """The metrics that there are."""
        whole = dict[str, float]()
        if self._all.both_kinds:
            whole = {"pixel_auroc": self._all.auroc(), "aupro": self._all.aupro(aupro_limit)}
        aurocs = {kind: pixels.auroc() for kind, pixels in self._by_kind.items() if pixels.both_kinds}
        areas = {kind: pixels.spro(self._spro_limit) for kind, pixels in self._regions.items()}
        spro = {kind: area for kind, area in areas.items() if area is not None}
        return {**whole, **measures.by_kind("pixel_auroc", aurocs), **measures.by_kind("spro", spro)}


def _resized(images: "Tensor", size: tuple[int, int]) -> "Tensor":
    """Images [n, channels, height, width] in another width and height, by bilinear interpolation."""
    from torch.nn.functional import interpolate

    width, height = size
    if images.shape[-2:] == (height, width):
        return images
    return interpolate(images, size=(height, width), mode="bilinear", antialias=True)
