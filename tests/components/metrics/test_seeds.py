"""Tests of the statistics over seeds."""

import pytest

from components.metrics.seeds import paired_gain, spread, t_interval


def test_spread() -> None:
    found = spread([0.7, 0.8, 0.9])
    assert (found.n, found.mean, found.sd) == pytest.approx((3, 0.8, 0.1))


def test_one_value_has_no_deviation() -> None:
    assert spread([0.7]).sd is None


def test_t_interval_of_a_textbook_sample() -> None:
    # t(0.975, 4) = 2.7764; sd of 1..5 = 1.5811
    assert t_interval([1, 2, 3, 4, 5]) == pytest.approx((1.0368, 4.9632), abs=1e-4)


def test_gain_is_paired_with_the_best_other_set() -> None:
    gain = paired_gain(
        {
            "none": {0: 0.5, 1: 0.9, 2: 0.7},
            "rotations": {0: 0.6, 1: 0.9, 2: 0.9},
            "generated": {0: 0.7, 1: 0.9, 2: 0.8, 3: 1.0},
        }
    )
    assert gain is not None
    assert gain.baseline == "rotations"
    assert dict(gain.differences) == pytest.approx({0: 0.1, 1: 0.0, 2: -0.1})
    assert gain.mean == pytest.approx(0)
    assert gain.interval == pytest.approx((-0.2484, 0.2484), abs=1e-4)
    assert gain.statement == "95% t-interval -0.2484 to +0.2484 over 3 seeds, includes 0: no difference shown"


def test_interval_that_excludes_zero() -> None:
    gain = paired_gain({"none": {0: 0.5, 1: 0.6, 2: 0.7}, "generated": {0: 0.6, 1: 0.71, 2: 0.79}})
    assert gain is not None
    assert gain.statement.endswith("over 3 seeds, excludes 0")


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_no_interval(seeds: int) -> None:
    gain = paired_gain({"none": dict.fromkeys(range(seeds), 0.5), "generated": dict.fromkeys(range(seeds), 0.6)})
    assert gain is not None
    assert gain.interval is None
    assert gain.statement == f"n = {seeds}: too small for an interval, 3 seeds are needed"


def test_baseline_shares_the_most_seeds() -> None:
    gain = paired_gain({"none": {0: 0.5, 1: 0.5}, "rotations": {0: 0.9}, "generated": {0: 0.6, 1: 0.6}})
    assert gain is not None
    assert gain.baseline == "none"


@pytest.mark.parametrize(
    "measured",
    [{}, {"generated": {0: 0.5}}, {"none": {0: 0.5}}, {"none": {0: 0.5}, "generated": {1: 0.5}}],
)
def test_no_pair_no_gain(measured: dict[str, dict[int, float]]) -> None:
    assert paired_gain(measured) is None
