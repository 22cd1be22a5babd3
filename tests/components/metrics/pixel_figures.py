"""Pixel metrics of whole arrays, by each of the two ways to measure them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from components.artifacts import Region
from components.metrics.pixels import BinnedPixels, KeptPixels, Pixels

WAYS = (KeptPixels, BinnedPixels)

Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


def measured(
    way: type[KeptPixels] | type[BinnedPixels], maps: Maps, masks: Masks, regions: Sequence[Sequence[Region]] = ()
) -> Pixels:
    pixels = way()
    for map, mask, own in zip(maps, masks, regions or [()] * len(maps), strict=True):
        pixels.add(map, mask, own)
    return pixels


def pixel_metrics(maps: Maps, masks: Masks, limit: float) -> dict[str, float]:
    """Exact figures, which those in bins are close to."""
    kept, binned = (measured(way, maps, masks) for way in WAYS)
    np.testing.assert_allclose(binned.auroc(), kept.auroc(), atol=1e-4)
    np.testing.assert_allclose(binned.aupro(limit), kept.aupro(limit), atol=1e-4)
    return {"pixel_auroc": kept.auroc(), "aupro": kept.aupro(limit)}
