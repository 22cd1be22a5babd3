"""The proxy is the AUROC of held-out good images against the synthetic defects, with its error by the good images."""

from pathlib import Path

import pytest

from components.artifacts import CONFIG, write_json
from components.metrics.validation import Validation, difference_error, proxy_metrics, standard_error
from tests.components.validations import write_validation


def validation(tmp_path: Path, good: list[float], synthetic: list[list[float]], name: str = "detector") -> Validation:
    found = Validation.read(write_validation(tmp_path / name, good, synthetic))
    assert found is not None
    return found


def test_auroc_counts_pairs_and_halves_of_ties(tmp_path: Path) -> None:
    found = validation(tmp_path, [1.0, 2.0], [[3.0, 2.0], [0.0, 2.5]])
    assert found.auroc == (2 + 1.5 + 0 + 2) / 8
    assert found.by_family(2.2) == [
        {"family": "blot", "images": 2, "auroc": 0.5, "recall": 0.5},
        {"family": "scratch", "images": 2, "auroc": 0.875, "recall": 0.5},
    ]
    assert (found.recall(2.2), found.false_alarm_rate(1.5)) == (0.5, 0.5)


def test_values_without_an_image_leave_out_its_own_defects(tmp_path: Path) -> None:
    found = validation(tmp_path, [1.0, 2.0], [[3.0, 2.0], [0.0, 2.5]])
    assert found.without_one().tolist() == [0.5, 1.0]
    assert standard_error([0.5, 1.0]) == pytest.approx(0.25)


def test_error_of_a_difference_is_paired(tmp_path: Path) -> None:
    one = validation(tmp_path, [1.0, 2.0, 3.0], [[3.0], [0.0], [2.5]])
    shifted = validation(tmp_path, [2.0, 3.0, 4.0], [[4.0], [1.0], [3.5]], "shifted")
    other = validation(tmp_path, [1.0, 2.0, 3.0], [[3.5], [2.5], [2.5]], "other")
    assert standard_error(list(one.without_one())) > 0
    assert difference_error(one, shifted) == 0
    assert difference_error(one, other) > 0
    with pytest.raises(ValueError, match="good-2"):
        difference_error(one, validation(tmp_path, [1.0, 2.0], [[3.0]], "fewer"))


def test_one_held_out_image_or_no_defect_is_no_validation(tmp_path: Path) -> None:
    assert Validation.read(write_validation(tmp_path / "one", [1.0], [[2.0]])) is None
    assert Validation.read(write_validation(tmp_path / "none", [1.0, 2.0], [])) is None
    assert proxy_metrics(tmp_path) == {}


def test_proxies_of_a_detector_are_at_its_threshold(tmp_path: Path) -> None:
    path = write_validation(tmp_path / "detector", [1.0, 2.0], [[3.0, 2.0], [0.0, 2.5]])
    write_json(path / CONFIG, {"threshold": {"value": 1.5}})
    assert proxy_metrics(path) == {
        "proxy_image_auroc": 0.6875,
        "proxy_standard_error": pytest.approx(0.25),
        "proxy_recall": 0.75,
        "validation_false_alarm_rate": 0.5,
        "validation_images": 2.0,
    }
