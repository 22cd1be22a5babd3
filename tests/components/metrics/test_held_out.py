from components.metrics.held_out import FOLDS, Fold, folds


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
