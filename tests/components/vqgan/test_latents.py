import pytest
import torch
from scipy.stats import kstest

from components.vqgan import latents as latents_module
from components.vqgan.config import Config
from components.vqgan.latents import SamplingPlan, Variation

SAMPLES = 4000


def known_latents() -> torch.Tensor:
    """Two augmentations, one channel, one row of two positions: means 1 and 5, variances 2 and 8."""
    return torch.tensor([[[[0.0, 3.0]]], [[[2.0, 7.0]]]])


def test_variance_is_estimated_per_position() -> None:
    variation = Variation.pooled([known_latents()])
    assert variation.variance("estimated").flatten().tolist() == [2.0, 8.0]
    assert variation.variance("unit").flatten().tolist() == [1.0, 1.0]
    assert variation.variance("none").flatten().tolist() == [0.0, 0.0]


def test_variance_is_pooled_over_given_images_each_about_its_own_mean() -> None:
    first, second = known_latents(), torch.tensor([[[[10.0, 10.0]]], [[[10.0, 10.0]]], [[[13.0, 10.0]]]])
    pooled = Variation.pooled([first, second])
    assert pooled.freedom == 3
    assert pooled.variance("estimated").flatten().tolist() == pytest.approx([(2 + 6) / 3, 8 / 3])


def test_lowrank_noise_has_the_variance_and_the_covariance_of_the_latents() -> None:
    torch.manual_seed(4)
    latents = torch.randn(6, 2, 3, 3) @ torch.randn(3, 3)
    noise = Variation.pooled([latents]).noise(20 * SAMPLES, Config(covariance="lowrank")).flatten(1)
    expected = torch.cov(latents.flatten(1).T)
    torch.testing.assert_close(torch.cov(noise.T), expected, atol=0.05 * float(expected.diagonal().max()), rtol=0)
    assert noise.mean(dim=0).abs().max() < 0.05


def test_lowrank_noise_stays_in_the_span_of_the_deviations() -> None:
    torch.manual_seed(5)
    latents = torch.randn(3, 2, 2, 2)
    noise = Variation.pooled([latents]).noise(50, Config(covariance="lowrank")).flatten(1)
    assert int(torch.linalg.matrix_rank(noise)) == 2


def sample_latents(latents: torch.Tensor, count: int, config: Config) -> torch.Tensor:
    """Samples of one given image's latents by their own variation."""
    return latents_module.sample_latents(latents, count, config, Variation.pooled([latents.detach()]))


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


def test_without_variance_every_sample_is_the_mean() -> None:
    samples = sample_latents(known_latents(), 3, Config(variance="none")).flatten(1)
    assert samples.tolist() == [[1.0, 5.0]] * 3


@pytest.mark.parametrize("variance", ["estimated", "unit"])
@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_own_center_spreads_around_each_augmentation_by_the_common_variance(variance: str, temperature: float) -> None:
    torch.manual_seed(1)
    config = Config(center="own", variance=variance, temperature=temperature)
    samples = sample_latents(known_latents(), SAMPLES, config).flatten(1)
    sigma = torch.tensor([2.0, 8.0] if variance == "estimated" else [1.0, 1.0])
    for index, center in enumerate(known_latents().flatten(1)):
        own = samples[index::2]
        error = 4 * (sigma * temperature**2 / len(own)).sqrt()
        assert ((own.mean(dim=0) - center).abs() < error).all()
        torch.testing.assert_close(own.var(dim=0), sigma * temperature**2, atol=0, rtol=0.12)


def test_temperature_zero_leaves_the_center() -> None:
    samples = sample_latents(known_latents(), 2, Config(center="own", variance="unit", temperature=0.0))
    assert samples.tolist() == known_latents().tolist()


def test_samples_are_normal_and_independent_of_each_other() -> None:
    torch.manual_seed(2)
    latents = torch.randn(6, 3, 2, 2)
    noise = sample_latents(latents, SAMPLES, Config()) - latents.mean(dim=0)
    scaled = (noise / latents.std(dim=0)).flatten(1).double()
    bound = 4 / SAMPLES**0.5
    positions = torch.corrcoef(scaled.T) - torch.eye(12, dtype=torch.float64)
    assert positions.abs().max() < bound
    following = torch.corrcoef(torch.stack([scaled[:-1].flatten(), scaled[1:].flatten()]))[0, 1]
    assert following.abs() < bound
    assert kstest(scaled.flatten().numpy(), "norm").pvalue > 0.01


def test_mean_and_variance_of_many_augmentations_are_those_they_were_drawn_from() -> None:
    """Eq. 3 on latents of a known distribution: channels with standard deviations 0.5 and 2 around 3 and -1."""
    torch.manual_seed(3)
    mean, deviation = torch.tensor([3.0, -1.0])[:, None, None], torch.tensor([0.5, 2.0])[:, None, None]
    latents = mean + deviation * torch.randn(1500, 2, 2, 2)
    samples = sample_latents(latents, SAMPLES, Config())
    error = 5 * deviation * (1 / 1500 + 1 / SAMPLES) ** 0.5
    assert ((samples.mean(dim=0) - mean).abs() < error).all()
    torch.testing.assert_close(samples.std(dim=0), deviation.expand(2, 2, 2), atol=0, rtol=0.1)


def test_batches_take_the_given_images_in_turn() -> None:
    assert [SamplingPlan(3, Config()).given_of(batch) for batch in range(7)] == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize(("given", "steps"), [(1, 3), (6, 3), (7, 4), (100, 50)])
def test_every_given_image_has_a_batch_in_each_iteration(given: int, steps: int) -> None:
    plan = SamplingPlan(given, Config(steps=3, accumulate=2, iterations=5))
    assert (plan.steps, plan.total_steps) == (steps, 5 * steps)
    assert {plan.given_of(batch) for batch in range(2 * plan.steps)} == set(range(given))


def test_a_set_has_an_image_of_every_given_one() -> None:
    assert [SamplingPlan(given, Config(images=16)).images for given in (1, 16, 40)] == [16, 16, 40]
    assert SamplingPlan(40, Config(images=16)).shares(3) == [1] * 40


def test_shares_of_a_set_differ_by_one_at_most_and_even_out_over_the_iterations() -> None:
    plan = SamplingPlan(3, Config(images=4))
    assert [plan.shares(iteration) for iteration in range(3)] == [[2, 1, 1], [1, 2, 1], [1, 1, 2]]


def test_mixed_batch_takes_other_images_in_the_next_iteration() -> None:
    plan = SamplingPlan(3, Config(batch_size=4))
    assert plan.mixed_batch(0) == [(0, 0), (1, 0), (2, 0), (0, 1)]
    assert plan.mixed_batch(1) == [(1, 0), (2, 0), (0, 0), (1, 1)]
