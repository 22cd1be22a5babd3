from typing import Any

import pandas as pd
import pytest

from components.metrics.seeds import Spread
from components.tabulation.gather import FULL
from components.tabulation.statistics import (
    ALL_CLASSES,
    best_classes,
    comparisons,
    correlation,
    gains,
    lines,
    missing,
    paired,
)
from tests.components.tabulation.tables import detector_table, row


def spread_of(found: Spread | None) -> tuple[int, float, float]:
    assert found is not None
    assert found.sd is not None
    return found.n, found.mean, found.sd


def test_a_line_has_mean_and_deviation_over_seeds_and_over_the_classes_means() -> None:
    generated = next(line for line in lines(detector_table(), "image_auroc") if line.method == "generated")
    assert spread_of(generated.cells["bolt"]) == pytest.approx((2, 0.88, 0.02 * 2**0.5))
    assert spread_of(generated.cells["nut"]) == pytest.approx((2, 0.85, 0.05 * 2**0.5))
    assert spread_of(generated.cells[ALL_CLASSES]) == pytest.approx((2, 0.865, 0.015 * 2**0.5))


def test_baselines_come_first_whatever_the_order_of_the_cells() -> None:
    reversed_table = detector_table().iloc[::-1]
    assert [line.method for line in lines(reversed_table, "image_auroc")] == [
        "none",
        "rotations",
        "augmented",
        "generated",
    ]


@pytest.mark.parametrize(
    ("counts", "label"), [((1, 1), "generated, 1 image"), ((3, 7), "generated, 3 to 7 images"), ((), "generated")]
)
def test_a_line_tells_the_number_of_its_images(counts: tuple[int, ...], label: str) -> None:
    images = [row(class_name="bolt", method="generated", measure="images", value=value) for value in counts]
    found = lines(pd.concat([detector_table(), pd.DataFrame(images)]), "image_auroc")
    assert [line.label for line in found] == ["none", "rotations", "augmented", label]


def test_mean_over_classes_needs_a_seed_that_all_have() -> None:
    table = detector_table()
    table = table[~((table["class_name"] == "nut") & (table["seed"] == 1))]
    none = lines(table, "image_auroc")[0].cells[ALL_CLASSES]
    assert none is not None
    assert none.n == 1
    assert none.mean == pytest.approx(0.75)
    table = table[~((table["class_name"] == "bolt") & (table["seed"] == 0))]
    assert lines(table, "image_auroc")[0].cells[ALL_CLASSES] is None


def test_gain_is_paired_against_the_best_baseline_of_the_class() -> None:
    found = gains(detector_table(), "generated")
    bolt, nut = found["patchcore", 1, "bolt"], found["patchcore", 1, "nut"]
    assert (bolt.baseline, nut.baseline) == ("rotations", "none")
    assert (bolt.mean, nut.mean) == pytest.approx((0.13, 0.0))


def test_gain_of_the_mean_over_classes_is_paired_too() -> None:
    gain = gains(detector_table(), "generated")["patchcore", 1, ALL_CLASSES]
    assert gain.baseline == "none"
    assert dict(gain.differences) == pytest.approx({0: 0.10, 1: 0.13})


def test_gain_over_no_added_images_has_that_one_baseline() -> None:
    found = gains(detector_table(), "generated", against=("none",))
    assert {key[2]: (gain.baseline, round(gain.mean, 6)) for key, gain in found.items()} == {
        "bolt": ("none", 0.23),
        "nut": ("none", 0.0),
        ALL_CLASSES: ("none", 0.115),
    }


def test_other_methods_are_no_baselines() -> None:
    table = detector_table()
    table.loc[table["method"] == "rotations", "method"] = "5 copies"
    assert gains(table, "generated")["patchcore", 1, "bolt"].baseline == "none"


def test_what_was_not_computed_is_told_once() -> None:
    rows = [row(measure="fid", note="no weights", seed=seed) for seed in range(3)]
    assert missing(pd.DataFrame([*rows, row(measure="ssim", value=0.5)])) == [("fid", "no weights")]


def pairs(**groups: list[tuple[float, float]]) -> pd.DataFrame:
    """Value and gain of the sets of each class."""
    names = {"shots": 1, "seed": 0, "detector": "patchcore"}
    return pd.DataFrame(
        [
            {"class_name": name, **names, "value": value, "gain": gain}
            for name, own in groups.items()
            for value, gain in own
        ]
    )


def test_correlation_is_pearsons() -> None:
    assert correlation(pairs(a=[(1, 2), (2, 4), (3, 6)])) == pytest.approx(1.0)
    assert correlation(pairs(a=[(1, 1), (2, 0), (3, 1)])) == pytest.approx(0.0)
    assert correlation(pairs(a=[(1, 2), (2, 4), (3, 5)])) == pytest.approx(3 / (2 * 4.6666667) ** 0.5)


def test_correlation_that_is_undefined() -> None:
    assert correlation(pairs(a=[(1, 1), (2, 2)])) is None
    assert correlation(pairs(a=[(0.1, 1), (0.1, 2), (0.1, 3)])) is None
    assert correlation(pairs(a=[(0.1, 1)], b=[(0.7, 2)], c=[(0.3, 3)])) is None


def test_correlation_is_not_that_between_the_classes() -> None:
    table = pairs(hard=[(1, 3), (2, 2), (3, 1)], easy=[(11, 13), (12, 12), (13, 11)])
    assert table["value"].corr(table["gain"]) > 0.9
    assert correlation(table) == pytest.approx(-1.0)


@pytest.mark.parametrize("other", [{"seed": 1}, {"shots": 5}, {"detector": "padim"}])
def test_correlation_is_not_that_between_seeds_shots_or_detectors(other: dict[str, Any]) -> None:
    first, second = pairs(bolt=[(1, 3), (2, 2), (3, 1)]), pairs(bolt=[(11, 13), (12, 12), (13, 11)])
    assert correlation(pd.concat([first, second.assign(**other)])) == pytest.approx(-1.0)


def test_gain_over_no_added_images_stands_beside_the_sets_quality() -> None:
    quality = [
        row(class_name="bolt", method="generated", seed=seed, measure="pixel_std", value=seed / 10) for seed in (0, 1)
    ]
    found = paired(pd.concat([detector_table(), pd.DataFrame(quality)]), "pixel_std")
    assert found["gain"].tolist() == pytest.approx([0.30, 0.16])
    assert found["value"].tolist() == pytest.approx([0.0, 0.1])


def long_table(**methods: list[list[float]]) -> pd.DataFrame:
    """Image AUROC by method, a list for each class with a value for each seed."""
    names = {"detector": "patchcore", "measure": "image_auroc"}
    return pd.DataFrame(
        [
            row(**names, class_name=f"class {index}", method=method.replace("_", " "), seed=seed, value=value)
            for method, classes in methods.items()
            for index, own in enumerate(classes)
            for seed, value in enumerate(own)
        ]
    )


def test_differences_are_paired_and_have_intervals_by_seed_and_by_class() -> None:
    none = [[0.5, 0.6, 0.7], [0.1, 0.2, 0.3], [0.8, 0.8, 0.8]]
    gains_of = [[0.1, 0.2, 0.3], [0.0, 0.1, 0.2], [0.2, 0.3, 0.1]]
    better = [[a + b for a, b in zip(*pair, strict=True)] for pair in zip(none, gains_of, strict=True)]
    (found,) = comparisons(long_table(none=none, ours=better))
    assert (found.method, found.pairs, found.wins, found.classes) == ("ours", 9, 8, 3)
    assert found.mean == pytest.approx(1 / 6)
    # Student's t of 2 degrees of freedom is 4.302653; means by seed 0.1, 0.2, 0.2, by class 0.2, 0.1, 0.2.
    half = 4.302653 * (0.01 / 3) ** 0.5 / 3**0.5
    for interval in (found.by_seed.interval, found.by_class):
        assert interval == pytest.approx((1 / 6 - half, 1 / 6 + half), abs=1e-6)
    assert found.p == pytest.approx(2 / 2**8)
    assert found.recovery is None


def test_a_seed_that_a_class_lacks_counts_for_none() -> None:
    table = long_table(none=[[0.5, 0.5], [0.5, 0.5]], ours=[[0.6, 0.9], [0.6, 0.6]])
    table = table[~((table["class_name"] == "class 1") & (table["seed"] == 1))]
    (found,) = comparisons(table)
    assert found.mean == pytest.approx(0.1)
    assert (found.pairs, found.p, found.by_seed.interval) == (2, None, None)


def test_recovery_is_a_share_of_what_all_images_gain() -> None:
    table = long_table(none=[[0.5, 0.7]], ours=[[0.6, 0.7]], all_good_images=[[0.9, 0.7]])
    found = {one.method: one for one in comparisons(table)}
    assert found["ours"].recovery == pytest.approx(0.25)
    assert found[FULL].recovery is None
    assert lines(table, "image_auroc")[-1].method == FULL
    (little,) = comparisons(long_table(none=[[0.7]], ours=[[0.8]]))
    assert little.recovery is None


def test_best_classes_gain_most_over_no_added_images() -> None:
    gained = [0.1, 0.4, 0.2, -0.1, 0.3, 0.15]
    table = long_table(none=[[0.5]] * 6, generated=[[0.5 + value] for value in gained])
    assert best_classes(lines(table, "image_auroc"), "generated") == [f"class {index}" for index in (1, 4, 2, 5, 0)]
