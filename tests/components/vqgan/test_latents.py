import pytest
import torch

from components.vqgan.config import Config
from components.vqgan.latents import latent_variance, sample_latents

SAMPLES = 4000


def known_latents() -> torch.Tensor:
    """Two augmentations, one channel, one row of two positions: means 1 and 5, variances 2 and 8."""
    return torch.tensor([[[[0.0, 3.0]]], [[[2.0, 7.0]]]])


def test_variance_is_estimated_per_position() -> None:
    assert latent_variance(known_latents(), "estimated").flatten().tolist() == [2.0, 8.0]
    assert latent_variance(known_latents(), "unit").flatten().tolist() == [1.0, 1.0]
    assert latent_variance(known_latents(), "none").flatten().tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("variance", "expected"), [("estimated", [2.0, 8.0]), ("unit", [1.0, 1.0])])
def test_samples_have_the_mean_and_variance_of_the_augmentations(variance: str, expected: list[float]) -> None:
    torch.manual_seed(0)
    samples = sample_latents(known_latents(), SAMPLES, Config(variance=variance)).flatten(1)
    torch.testing.assert_close(samples.mean(dim=0), torch.tensor([1.0, 5.0]), atol=0.2, rtol=0)
    torch.testing.assert_close(samples.var(dim=0), torch.tensor(expected), atol=0, rtol=0.1)


def test_temperature_scales_the_standard_deviation() -> None:
    torch.manual_seed(0)
    samples = sample_latents(known_latents(), SAMPLES, Config(temperature=0.5)).flatten(1)
    torch.testing.assert_close(samples.var(dim=0), torch.tensor([0.5, 2.0]), atol=0, rtol=0.1)


def test_own_center_takes_the_augmentations_in_turn() -> None:
    samples = sample_latents(known_latents(), 3, Config(center="own", variance="none"))
    assert samples.flatten(1).tolist() == [[0.0, 3.0], [2.0, 7.0], [0.0, 3.0]]


def test_gradients_reach_the_latents_through_the_center_only() -> None:
    latents = known_latents().requires_grad_()
    torch.manual_seed(0)
    sample_latents(latents, 4, Config()).sum().backward()  # type: ignore[no-untyped-call]
    assert latents.grad is not None
    assert latents.grad.flatten().tolist() == [2.0, 2.0, 2.0, 2.0]
