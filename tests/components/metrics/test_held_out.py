import numpy as np
import pytest

from components.metrics.held_out import FOLDS, Fold, PatchDistances, bounded, folds, spread_defects


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


def test_folds_are_bounded_and_ask_eligible_images_only() -> None:
    kept, held_out = [f"kept-{number}" for number in range(9)], [f"held-{number}" for number in range(30)]
    (fold,) = bounded(folds(kept, held_out), 4, set(held_out[1:]))
    assert (fold.kept, fold.held_out) == (tuple(kept[:4]), tuple(held_out[1:11]))
    in_turn = bounded(folds(kept, []), 4, {"kept-0", "kept-5", "kept-1"})
    assert [one.held_out for one in in_turn] == [("kept-0", "kept-5"), ("kept-1",)]


def test_defects_are_taken_evenly() -> None:
    ids = [str(number) for number in range(100)]
    assert spread_defects(ids, 1) == ids[::3]
    assert spread_defects(ids, 2) == ids[::5]
    assert spread_defects(ids[:3], 5) == ids[:3]


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
