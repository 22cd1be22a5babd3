"""Tests of the two-sample tests: right with few images, and powerful where something has changed."""

import numpy as np
import pytest
import torch

from components.change.shift import (
    Floats,
    embedding_shift,
    image_statistics,
    least_p_value,
    looks_of,
    mean_distance,
    mean_shift,
    superiority,
)


def normal(seed: int, count: int, shift: float = 0.0, size: int = 8) -> Floats:
    return np.random.default_rng(seed).normal(shift, 1.0, (count, size))


@pytest.mark.parametrize(("reference", "new"), [(20, 20), (30, 4), (6, 6), (25, 1)])
def test_false_alarms_of_the_embedding_test_are_as_stated(reference: int, new: int) -> None:
    repeats, alpha = 300, 0.1
    found = [embedding_shift(normal(s, reference), normal(10_000 + s, new), 199, s).p_value for s in range(repeats)]
    alarms = sum(p_value <= alpha for p_value in found)
    # Four standard deviations of a binomial count over its mean.
    assert alarms <= repeats * alpha + 4 * np.sqrt(repeats * alpha * (1 - alpha))


def test_p_values_of_equal_distributions_are_uniform() -> None:
    found = [embedding_shift(normal(s, 15), normal(5_000 + s, 10), 199, s).p_value for s in range(300)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_skewed_values_give_no_more_false_alarms() -> None:
    def draw(seed: int, count: int) -> Floats:
        return np.random.default_rng(seed).exponential(size=count) ** 3

    found = [mean_shift(draw(s, 12), draw(7_000 + s, 5), 199, s, greater=True).p_value for s in range(300)]
    assert sum(p_value <= 0.1 for p_value in found) <= 30 + 4 * np.sqrt(27)


@pytest.mark.parametrize("new", [3, 10])
def test_shifted_mean_is_found(new: int) -> None:
    found = [embedding_shift(normal(s, 25), normal(9_000 + s, new, shift=1.5), 499, s).p_value for s in range(20)]
    assert sum(p_value <= 0.05 for p_value in found) >= 19


def test_other_spread_is_found_by_the_discrepancy() -> None:
    shift = embedding_shift(normal(0, 40), 3 * normal(1, 40), 499, 0)
    assert shift.p_value <= 0.01


def test_distance_is_without_what_chance_gives() -> None:
    small = [mean_distance(normal(s, 5, size=64), normal(600 + s, 5, size=64)) for s in range(50)]
    assert np.mean(small) < 0.2
    shifted = mean_distance(normal(0, 200), normal(1, 200, shift=2.0))
    assert shifted == pytest.approx(2.0, rel=0.1)


def test_one_image_against_three_cannot_be_significant() -> None:
    assert least_p_value(3, 1, 999) == 0.25
    shift = embedding_shift(normal(0, 3), normal(1, 1, shift=50.0), 999, 0)
    assert shift.p_value >= 0.2


def test_least_p_value_is_bounded_by_the_permutations() -> None:
    assert least_p_value(100, 100, 999) == 0.001


def test_same_seed_same_p_value() -> None:
    first, second = (embedding_shift(normal(0, 9), normal(1, 9), 199, 5) for _ in range(2))
    assert first == second


def test_direction_of_a_difference() -> None:
    low, high = normal(0, 20, size=1)[:, 0], normal(1, 20, shift=3.0, size=1)[:, 0]
    assert mean_shift(low, high, 199, 0, greater=True).p_value == 0.005
    assert mean_shift(high, low, 199, 0, greater=True).p_value > 0.9
    assert mean_shift(high, low, 199, 0).p_value == 0.005


def test_constant_values_differ_in_nothing() -> None:
    same = np.ones(5)
    assert mean_shift(same, same, 199, 0).p_value == 1.0
    assert embedding_shift(np.ones((5, 2)), np.ones((4, 2)), 199, 0).p_value == 1.0


def test_superiority() -> None:
    assert superiority([1.0, 2.0], [3.0, 4.0]) == 1.0
    assert superiority([3.0], [1.0, 2.0]) == 0.0
    assert superiority([1.0, 1.0], [1.0]) == 0.5


def test_statistics_of_known_images() -> None:
    flat = torch.full((1, 3, 32, 32), 0.25)
    board = torch.zeros(1, 3, 32, 32)
    board[..., ::2, ::2] = 1
    board[..., 1::2, 1::2] = 1
    found = image_statistics(torch.cat([flat, board]))
    assert found["brightness"] == pytest.approx([0.25, 0.5])
    assert found["contrast"] == pytest.approx([0.0, 0.5], abs=1e-6)
    assert found["sharpness"] == pytest.approx([0.0, 4.0], abs=1e-6)


def test_looks_of_images() -> None:
    images = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    looks = looks_of(images, "efficientnet-lite0")
    assert len(looks) == 3
    assert looks.embeddings.shape == (3, 40 + 112 + 320)
    alone = looks_of(images[1:2], "efficientnet-lite0")
    assert alone.embeddings[0] == pytest.approx(looks.embeddings[1], abs=1e-4)
