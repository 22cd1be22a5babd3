"""The choice represents every kind of image in a pool, and no odd one."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from components.dataset import coverage
from components.dataset.config import Config
from components.dataset.coverage import SIDE, choose_shots
from components.errors import InputError

UInt8Image = npt.NDArray[np.uint8]

STRIPES, CHECKS, ODD = range(6), range(6, 10), 10


def textured(seed: int, period: int, vertical: bool) -> UInt8Image:
    """Stripes or checks with a little noise."""
    lines = (np.arange(SIDE) // period) % 2
    pattern = np.broadcast_to(lines, (SIDE, SIDE)) if vertical else lines[:, None] ^ lines[None, :]
    noise = np.random.default_rng(seed).integers(0, 8, (SIDE, SIDE))
    return np.repeat((60 + 120 * pattern + noise).astype(np.uint8)[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def pool() -> list[UInt8Image]:
    """Six images of stripes, four of checks, and one of stripes with a red blot."""
    images = [textured(index, 16, True) for index in STRIPES] + [textured(index, 16, False) for index in CHECKS]
    spoilt = textured(ODD, 16, True)
    spoilt[96:144, 96:144] = (230, 20, 20)
    return [*images, spoilt]


@pytest.fixture(scope="module")
def two(pool: list[UInt8Image]) -> coverage.Choice:
    """The choice of two images."""
    return chosen(pool, 2)


def chosen(pool: Sequence[UInt8Image], shots: int, seed: int = 0) -> coverage.Choice:
    return choose_shots(lambda index: pool[index], len(pool), shots, seed)


def test_every_kind_of_image_is_represented_and_the_odd_one_is_listed(two: coverage.Choice) -> None:
    assert {two.shots[0] in STRIPES, two.shots[1] in STRIPES} == {True, False}
    assert ODD not in two.shots
    assert two.look_at == (ODD,)
    assert np.argmax(two.oddness) == ODD
    assert np.median(two.oddness) == pytest.approx(1)


def test_fewer_shots_are_the_first_of_more(pool: list[UInt8Image], two: coverage.Choice) -> None:
    choices = [chosen(pool, 1).shots, two.shots, chosen(pool, 4).shots]

    assert all(more[: len(fewer)] == fewer for fewer, more in pairwise(choices))


def test_all_images_can_be_chosen(pool: list[UInt8Image]) -> None:
    assert sorted(chosen(pool, len(pool)).shots) == list(range(len(pool)))


def test_the_seed_decides_between_equal_images_alone(pool: list[UInt8Image], two: coverage.Choice) -> None:
    assert two == chosen(pool, 2, seed=7)

    equal = [pool[0]] * 3
    firsts = {seed: chosen(equal, 1, seed).shots for seed in range(4)}
    assert len(set(firsts.values())) > 1
    assert firsts[3] == chosen(equal, 1, 3).shots


def test_a_large_pool_is_compared_with_a_part_of_it(
    pool: list[UInt8Image], two: coverage.Choice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "_KEPT_IMAGES", 2)
    assert chosen(pool, 2) == two

    monkeypatch.setattr(coverage, "_REFERENCES", 6)
    choice = chosen(pool, 2)
    assert {choice.shots[0] in STRIPES, choice.shots[1] in STRIPES} == {True, False}
    assert choice.look_at == (ODD,)


@pytest.mark.parametrize("shots", [0, 12])
def test_more_images_than_there_are_cannot_be_chosen(pool: list[UInt8Image], shots: int) -> None:
    with pytest.raises(InputError, match=f"shots: got {shots}, expected 1 to 11"):
        chosen(pool, shots)


def test_settings_of_a_choice() -> None:
    assert Config(uri="part").references == ()
    assert Config(uri="part", choose="coverage").references == ("efficientnet-lite0",)
    assert Config(uri="part", choose="coverage", shots=0).references == ()
    with pytest.raises(InputError, match=r"dataset\.shots: got 101, expected at most 100, or all, with"):
        Config(uri="part", choose="coverage", shots=101)
