"""The area under sPRO agrees with counting by hand, with counting at every threshold, and with PRO."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from components.artifacts import Region
from components.metrics.spro import area_under_spro, spro_curve
from tests.components.metrics.pixel_figures import pixel_metrics

Maps = npt.NDArray[np.float32]
Masks = npt.NDArray[np.bool_]


def region(mask: Masks, saturation: float = 1.0) -> Region:
    return Region(name="missing", mask=mask, saturation=saturation)


def one_row(length: int, *marked: int) -> Masks:
    mask = np.zeros((1, length), dtype=bool)
    mask[0, list(marked)] = True
    return mask


def random_case(seed: int, levels: int) -> tuple[Maps, Masks, list[list[Region]]]:
    """A good image and three bad ones of two regions each, which may overlap; maps with many equal scores."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, levels, (4, 12, 12)).astype(np.float32)
    regions: list[list[Region]] = [[]]
    for _ in range(3):
        own = [rng.random((12, 12)) < 0.15 for _ in range(2)]
        regions.append([region(mask, float(rng.uniform(0.05, 1))) for mask in own])
    masks = np.stack([np.any([own.mask for own in image], axis=0) if image else maps[0] < 0 for image in regions])
    return maps, masks, regions


def counted(maps: Maps, masks: Masks, regions: Sequence[Sequence[Region]], limit: float) -> float:
    """sPRO counted anew at each threshold, and the trapezoids up to the limit summed one by one."""
    points = [(0.0, 0.0)]
    for threshold in np.unique(maps)[::-1]:
        called = maps >= threshold
        overlaps = [
            min((image & own.mask).sum() / (own.saturation * own.mask.sum()), 1.0)
            for image, owned in zip(called, regions, strict=True)
            for own in owned
        ]
        points.append((float(called[~masks].mean()), float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit and x1 > x0:
            end = min(x1, limit)
            area += (end - x0) * (y0 + y0 + (y1 - y0) * (end - x0) / (x1 - x0)) / 2
    return area / limit


def test_half_of_a_region_is_enough_where_it_saturates_there() -> None:
    """Scores 9 8 3 2 of a region of four pixels; 5 4 1 0 of four good pixels."""
    maps = np.array([[[9, 8, 3, 2, 5, 4, 1, 0]]], dtype=np.float32)
    masks = one_row(8, 0, 1, 2, 3)[None]
    # PRO is 0.5 up to a rate of 0.5, and 1 from there; half of the region saturates at a half.
    assert area_under_spro(maps, masks, [[region(masks[0])]], 0.5) == pytest.approx(0.5)
    assert area_under_spro(maps, masks, [[region(masks[0], 0.5)]], 0.5) == pytest.approx(1.0)
    assert area_under_spro(maps, masks, [[region(masks[0], 0.75)]], 0.5) == pytest.approx(2 / 3)


def test_area_is_that_of_straight_lines_between_the_thresholds() -> None:
    """At 9 a quarter of the good pixels is called, and none of the region; at 5 all of the region as well."""
    maps = np.array([[[5, 5, 9, 1, 0, 0]]], dtype=np.float32)
    masks = one_row(6, 0, 1)[None]
    rates, overlaps = spro_curve(maps, masks, [[region(masks[0])]], 1.0)
    np.testing.assert_allclose(rates, [0, 0.25, 0.25, 0.5, 1.0])
    np.testing.assert_allclose(overlaps, [0, 0, 1, 1, 1])
    assert area_under_spro(maps, masks, [[region(masks[0])]], 0.5) == pytest.approx(0.5)


def test_regions_count_alike_whatever_their_area() -> None:
    """A region of six pixels is found, one of two is missed; both are in one image."""
    large, small = one_row(12, *range(6)), one_row(12, 6, 7)
    maps = np.where(large, 9, np.where(small, -1, 0))[None].astype(np.float32)
    area = area_under_spro(maps, (large | small)[None], [[region(large), region(small)]], 0.1)
    assert area == pytest.approx(0.5 * 1.0 + 0.0, abs=1e-9)


def test_overlapping_regions_are_each_found_by_the_same_pixels() -> None:
    first, second = one_row(8, 0, 1), one_row(8, 1, 2)
    maps = np.zeros((1, 1, 8), dtype=np.float32)
    maps[0, 0, 1] = 1
    _, overlaps = spro_curve(maps, (first | second)[None], [[region(first), region(second, 0.5)]], 1.0)
    assert overlaps.tolist() == [0.0, pytest.approx((0.5 + 1) / 2), 1.0]


@pytest.mark.parametrize("levels", [3, 20, 10_000])
@pytest.mark.parametrize("limit", [0.01, 0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_area_is_that_counted_at_every_threshold(seed: int, levels: int, limit: float) -> None:
    case = random_case(seed, levels)
    assert area_under_spro(*case, limit) == pytest.approx(counted(*case, limit), abs=1e-12)


@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_spro_is_pro_where_regions_saturate_at_their_area(limit: float) -> None:
    rng = np.random.default_rng(7)
    masks = ndimage.binary_dilation(rng.random((3, 24, 24)) < 0.01, np.ones((1, 3, 3), dtype=bool))
    maps = (rng.random((3, 24, 24)) + masks).astype(np.float32)
    connected: list[list[Region]] = []
    for mask in masks:
        labels, count = ndimage.label(mask, np.ones((3, 3)))
        connected.append([region(labels == index) for index in range(1, count + 1)])
    assert sum(map(len, connected)) > 5
    expected = pixel_metrics(maps, masks, limit)["aupro"]
    assert area_under_spro(maps, masks, connected, limit) == pytest.approx(expected, abs=1e-4)


def test_any_monotone_scale_of_the_scores_gives_the_same_area() -> None:
    maps, masks, regions = random_case(0, 50)
    scaled: Any = np.exp(maps / 10) - 1e3
    assert area_under_spro(scaled, masks, regions, 0.2) == area_under_spro(maps, masks, regions, 0.2)
