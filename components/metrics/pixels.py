"""Pixel metrics of anomaly maps that come one at a time: exact while all pixels can be kept, else by fine bins."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from components.artifacts import Region
from components.metrics import measures
from components.metrics.spro import area_under_spro, area_up_to, saturated_steps

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from components.metrics.measures import Labels, Scores

    Values = npt.NDArray[np.float64]

EXACT_PIXELS = 2**25
"""Pixels of a test split up to which its maps are kept: 512 images of 256 x 256, 128 of 512 x 512."""
_BITS = 24
"""Of a float32 a bin's number has the sign, the exponent and 15 of 23 bits of the fraction: values in a bin differ by
at most a part in 32,768."""


class Pixels(Protocol):
    """Maps and masks [height, width] of images, and what is measured of them; a good image's mask is all False."""

    def add(self, map: "Scores", mask: "Labels", regions: Sequence[Region] = ()) -> None:
        """Take one image in."""

    @property
    def both_kinds(self) -> bool:
        """Whether there are pixels of defects, and others."""

    def auroc(self) -> float:
        """Area under the ROC curve over all pixels."""

    def aupro(self, limit: float) -> float:
        """Area under the overlap of the masks' connected parts up to a false positive rate, scaled to [0, 1]."""

    def spro(self, limit: float) -> float | None:
        """The same of the regions, each saturated (`spro`); None where there are none."""


def pixels_of(count: int) -> Pixels:
    """What measures a number of pixels in bounded memory."""
    return KeptPixels() if count <= EXACT_PIXELS else BinnedPixels()


class KeptPixels:
    """Exact figures of all pixels at once."""

    def __init__(self) -> None:
        self._maps: list[Scores] = []
        self._masks: list[Labels] = []
        self._regions: list[Sequence[Region]] = []

    def add(self, map: "Scores", mask: "Labels", regions: Sequence[Region] = ()) -> None:
        """See `Pixels`."""
        self._maps.append(map)
        self._masks.append(mask)
        self._regions.append(regions)

    @property
    def both_kinds(self) -> bool:
        """See `Pixels`."""
        return any(mask.any() for mask in self._masks) and not all(mask.all() for mask in self._masks)

    def auroc(self) -> float:
        """See `Pixels`."""
        return measures.pixel_auroc(*self._stacked())

    def aupro(self, limit: float) -> float:
        """See `Pixels`."""
        return measures.aupro(*self._stacked(), limit)

    def spro(self, limit: float) -> float | None:
        """See `Pixels`."""
        return area_under_spro(*self._stacked(), self._regions, limit) if any(self._regions) else None

    def _stacked(self) -> "tuple[Scores, Labels]":
        import numpy as np

        return np.stack(self._maps), np.stack(self._masks)


class BinnedPixels:
    """Figures by the number of good and bad pixels, and the overlap that is gained, in bins of the value.

    Memory is that of the bins that occur, at most 640 MiB for any number of images. Values of one bin count as equal:
    the pixel AUROC is off by at most half the share of pairs of a good and a bad pixel in one bin.
    """

    def __init__(self) -> None:
        import numpy as np

        self._good, self._bad, self._overlap, self._beside, self._saturated = np.zeros((5, 2**_BITS))
        self._parts = self._regions = 0

    def add(self, map: "Scores", mask: "Labels", regions: Sequence[Region] = ()) -> None:
        """See `Pixels`."""
        import numpy as np
        from scipy import ndimage

        bins, covered = _bins(map), mask.copy()
        np.add.at(self._good, bins[~mask], 1.0)
        np.add.at(self._bad, bins[mask], 1.0)
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        sizes = np.bincount(labels.ravel())
        np.add.at(self._overlap, bins[mask], 1.0 / sizes[labels[mask]])
        for region in regions:
            covered |= region.mask
            values, steps = saturated_steps(map, region)
            np.add.at(self._saturated, _bins(values), steps)
        np.add.at(self._beside, bins[~covered], 1.0)
        self._parts += count
        self._regions += len(regions)

    @property
    def both_kinds(self) -> bool:
        """See `Pixels`."""
        return bool(self._good.any() and self._bad.any())

    def auroc(self) -> float:
        """See `Pixels`."""
        used = (self._good > 0) | (self._bad > 0)
        good, bad = self._good[used], self._bad[used]
        return float((bad * (good.cumsum() - good / 2)).sum() / (bad.sum() * good.sum()))

    def aupro(self, limit: float) -> float:
        """See `Pixels`."""
        return _area(self._good, self._overlap, self._parts, limit)

    def spro(self, limit: float) -> float | None:
        """See `Pixels`."""
        return _area(self._beside, self._saturated, self._regions, limit) if self._regions else None


def _bins(values: "Scores") -> "npt.NDArray[np.int64]":
    """Numbers of the bins of finite values, in the order of the values: that of a float's bits, but for its sign."""
    import numpy as np

    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.int32)
    sizes = (bits & 0x7FFFFFFF).astype(np.int64)
    return (np.where(bits < 0, -sizes, sizes) + 2**31) >> (32 - _BITS)


def _area(good: "Values", overlap: "Values", parts: int, limit: float) -> float:
    """Area up to a limit under the mean overlap of parts over the false positive rate, by their gain in each bin."""
    import numpy as np

    used = np.flatnonzero((good > 0) | (overlap > 0))[::-1]
    rates = np.insert(np.cumsum(good[used]) / good.sum(), 0, 0.0)
    return area_up_to(limit, rates, np.insert(np.cumsum(overlap[used]) / parts, 0, 0.0))
