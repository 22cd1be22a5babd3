"""Pixel metrics in bins: near those of all pixels at once, whatever the scale of the scores."""

import numpy as np
import pytest

from components.artifacts import Region
from components.metrics.pixels import EXACT_PIXELS, BinnedPixels, KeptPixels, pixels_of
from tests.components.metrics.pixel_figures import WAYS, Maps, Masks, measured, pixel_metrics


def case(seed: int = 0) -> tuple[Maps, Masks]:
    """Four images of which two have defects, and maps that find them in part."""
    generator = np.random.default_rng(seed)
    masks = np.zeros((4, 48, 40), dtype=bool)
    masks[0, 5:20, 5:25], masks[1, 40:44, 3:6], masks[1, 44:46, 6:8] = True, True, True
    return (generator.normal(size=masks.shape) + masks).astype(np.float32), masks


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (1000.0, -500.0), (0.01, 1.0)])
def test_bins_follow_the_exact_figures(scale: float, offset: float) -> None:
    maps, masks = case()
    pixel_metrics((maps * scale + offset).astype(np.float32), masks, 0.3)


def test_bins_are_in_the_order_of_the_values() -> None:
    values = np.array([-7e5, -3.0, -1e-20, 0.0, 1e-20, 0.25, 3.0, 7e5], dtype=np.float32)
    mask = np.zeros((1, 8), dtype=bool)
    mask[0, 4:] = True
    assert measured(BinnedPixels, values[None, None], mask[None]).auroc() == 1.0
    assert measured(BinnedPixels, -values[None, None], mask[None]).auroc() == 0.0


def test_saturated_regions_in_bins() -> None:
    maps, masks = case()
    regions = [[Region(name="a", mask=mask, saturation=0.4)] if mask.any() else [] for mask in masks]
    kept, binned = (measured(way, maps, masks, regions).spro(0.1) for way in WAYS)
    assert binned == pytest.approx(kept, abs=1e-4)
    assert measured(BinnedPixels, maps, masks).spro(0.1) is measured(KeptPixels, maps, masks).spro(0.1) is None


def test_many_pixels_are_counted_in_bins() -> None:
    assert isinstance(pixels_of(EXACT_PIXELS), KeptPixels)
    assert isinstance(pixels_of(EXACT_PIXELS + 1), BinnedPixels)


@pytest.mark.parametrize("way", WAYS)
def test_both_kinds_of_pixels_are_needed(way: type[KeptPixels] | type[BinnedPixels]) -> None:
    maps, masks = case()
    assert measured(way, maps, masks).both_kinds
    assert not measured(way, maps[2:], masks[2:]).both_kinds
