"""Scores of sets whose score is known."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from components.networks.perceptual import psnr
from components.quality.scores import fid, inception_score, kid, mean_over_pairs, pixel_std, ssim


class CertainNetwork:
    """Is certain of one of three classes, the channel that is brightest."""

    name = "brightest channel"

    def features(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    def logits(self, features: Tensor) -> Tensor:
        return 100.0 * functional.one_hot(features.argmax(dim=1), 3)


def noise(images: Tensor, sigma: float) -> Tensor:
    return images + sigma * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))


def test_psnr_of_known_noise() -> None:
    grey = torch.full((2, 3, 128, 128), 0.5)
    torch.testing.assert_close(psnr(noise(grey, 0.1), grey), torch.tensor([20.0, 20.0]), atol=0.1, rtol=0)
    assert psnr(grey, grey).isinf().all()


def test_psnr_is_of_each_image_alone() -> None:
    grey = torch.full((2, 3, 16, 16), 0.5)
    shifted = grey + torch.tensor([0.1, 0.01]).view(2, 1, 1, 1)
    torch.testing.assert_close(psnr(shifted, grey), torch.tensor([20.0, 40.0]), atol=1e-3, rtol=0)


def test_ssim_of_equal_shifted_and_noisy_images() -> None:
    dark, light = torch.full((1, 3, 32, 32), 0.25), torch.full((1, 3, 32, 32), 0.75)
    assert float(ssim(dark, dark)) == pytest.approx(1.0)
    # Flat images differ in luminance alone: (2 m1 m2 + c1) / (m1^2 + m2^2 + c1), with c1 = 0.01^2.
    assert float(ssim(dark, light)) == pytest.approx((2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4), abs=1e-7)
    assert ssim(noise(dark, 0.02), dark) > ssim(noise(dark, 0.1), dark)


def test_mean_over_pairs_weighs_images_alike() -> None:
    images, given = torch.tensor([1.0, 5.0]).view(2, 1), torch.tensor([0.0, 2.0, 4.0]).view(3, 1)
    received = mean_over_pairs(lambda one, other: (one - other).flatten(), images, given, [[0], [0, 1, 2]])
    assert received == pytest.approx((1 + (5 + 3 + 1) / 3) / 2)


def test_mean_over_pairs_holds_across_batches() -> None:
    images, given = torch.arange(20.0).view(20, 1), torch.zeros(1, 1)
    assert mean_over_pairs(lambda one, other: (one - other).flatten(), images, given, [[0]] * 20) == pytest.approx(9.5)


def test_inception_score_is_the_number_of_classes_that_a_certain_network_sees() -> None:
    colours = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, 8, 8)
    network = CertainNetwork()
    assert inception_score(network, network.features(colours)) == pytest.approx(3.0, rel=1e-4)
    assert inception_score(network, network.features(colours[[0, 0, 1, 1]])) == pytest.approx(2.0, rel=1e-4)
    assert inception_score(network, network.features(colours[[1, 1, 1]])) == pytest.approx(1.0)


def test_fid_of_a_shifted_set_is_the_squared_shift() -> None:
    features = torch.randn(50, 4, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([3.0, 0.0, 4.0, 0.0])
    assert fid(features + shift, features) == pytest.approx(25.0, rel=1e-4)
    assert fid(features, features) == pytest.approx(0.0, abs=1e-4)


def test_kid_is_the_unbiased_distance_of_the_cubic_kernel() -> None:
    one, other = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 1.0], [2.0, 0.0]])

    def kernel(x: Tensor, y: Tensor) -> float:
        return float((x @ y / 2 + 1) ** 3)

    across = sum(kernel(x, y) for x in one for y in other) / 4
    assert kid(one, other) == pytest.approx(kernel(*one) + kernel(*other) - 2 * across, rel=1e-5)


def test_pixel_std_of_known_spread() -> None:
    images = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1, 1).expand(3, 3, 4, 4)
    assert pixel_std(images) == pytest.approx(0.2, rel=1e-6)
    assert pixel_std(images[[0, 0]]) == 0.0
