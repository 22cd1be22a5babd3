import numpy as np
import pytest

from components.metrics.held_out import FOLDS, Fold, PatchDistances, folds


def test_calibration_images_are_held_out_of_all_given_ones() -> None:
    assert folds(["a", "b"], ["c"]) == [Fold(("a", "b"), ("c",))]
    assert folds(["a"], ["c"]) == [Fold(("a",), ("c",))]


def test_given_images_are_held_out_in_turn() -> None:
    assert folds(["a"], []) == []
    assert folds(["a", "b"], []) == [Fold(("b",), ("a",)), Fold(("a",), ("b",))]
    many = folds([str(number) for number in range(12)], [])
    assert len(many) == FOLDS
    assert sorted(id for fold in many for id in fold.held_out) == sorted(map(str, range(12)))
    assert all(not set(fold.kept) & set(fold.held_out) for fold in many)


def test_auroc_of_the_most_distant_patches_of_each_image() -> None:
    good = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0])}
    bad = {"a": np.array([5.0]), "b": np.array([2.0])}
    found = PatchDistances(good=good, bad=bad)
    assert found.auroc == pytest.approx((1 + 0.5 / 2) / 2)
    assert found.without_one() == pytest.approx([0.0, 1.0])
    assert found.difference_error(found) == 0
    best = PatchDistances(good=good, bad={"a": np.array([9.0]), "b": np.array([9.0])})
    assert best.auroc == 1
    assert best.difference_error(found) == pytest.approx(0.5)
    assert not best.is_better_than(found)
    assert not found.is_better_than(found)
    worse = PatchDistances(good=good, bad={"a": np.array([0.0]), "b": np.array([0.0])})
    assert best.is_better_than(worse)
    assert not worse.is_better_than(best)
