"""Figures of image sets with known answers."""

import pytest
import torch

from components.metrics.variety import (
    MOST_IMAGES,
    Variety,
    evenly_spaced,
    feature_spread,
    flat_variety,
    mean_psnr,
    variety,
)
from components.networks.patches import PatchNetwork


@pytest.fixture(scope="module")
def network() -> PatchNetwork:
    return PatchNetwork()


def test_images_that_differ_by_a_constant(network: PatchNetwork) -> None:
    base = torch.rand(1, 3, 32, 32, generator=torch.manual_seed(0)) / 2
    images = torch.cat([base, base + 0.2])

    found = variety("set", images, network, base, [[0], [0]])

    assert found.pixel_std == pytest.approx(0.2 / 2**0.5, rel=1e-5)
    assert found.psnr == pytest.approx(-20 * torch.tensor(0.2).log10().item(), rel=1e-4)
    assert found.feature_spread is not None
    assert found.feature_spread > 0
    same = variety("copies", base.expand(3, -1, -1, -1), network)
    assert same.pixel_std == pytest.approx(0, abs=1e-7)
    assert same.psnr is None
    assert same.feature_spread == pytest.approx(0, abs=1e-2)


def test_spread_is_the_distance_from_the_mean() -> None:
    patches = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[-3.0, -4.0], [0.0, 0.0]]])
    assert feature_spread(patches) == pytest.approx(0.5 * 50**0.5)


def test_one_image_does_not_vary(network: PatchNetwork) -> None:
    found = variety("given", torch.zeros(1, 3, 32, 32), network)
    assert (found.images, found.pixel_std, found.feature_spread) == (1, None, None)


def test_psnr_is_that_to_the_nearest_partner_and_leaves_equal_images_out() -> None:
    given = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    images = torch.stack([torch.full((3, 8, 8), 0.9), torch.zeros(3, 8, 8)])
    assert mean_psnr(images, given, [[0, 1], [0]]) == pytest.approx(20, abs=1e-4)
    assert mean_psnr(images[1:], given, [[0]]) is None


def test_large_sets_are_sampled_evenly() -> None:
    places = evenly_spaced(range(1000))
    assert (len(places), places[0], places[-1]) == (MOST_IMAGES, 0, 999)
    assert evenly_spaced([5, 6]) == [5, 6]


def test_metrics_leave_out_what_was_not_measured() -> None:
    found = Variety(name="given", images=1, pixel_std=None, feature_spread=None, psnr=21.5)
    assert flat_variety({"given": found}) == {"given_psnr": 21.5}
