"""The choice of a detector: by the proxy without the test split, simpler sets first where the difference is noise."""

from pathlib import Path

import numpy as np
import pytest

from components.errors import InputError
from components.metrics.choice import PROXY, SIMPLEST, TEST, Choice, choose
from components.metrics.records import Record, simplicity
from components.metrics.validation import Validation
from tests.components.validations import write_validation

GOOD = list(np.linspace(0.0, 1.0, 12))


def record(training_set: str, detector: str = "patchcore", **figures: float) -> Record:
    return Record(detector=detector, training_set=training_set, seed=0, **figures)


def chosen(
    tmp_path: Path, synthetic: dict[str, float], choose_by: str = "auto", min_gain: float = 0.0, **test: float
) -> Choice:
    """Choice among training sets whose synthetic defects all have one score; `test` are image AUROCs."""
    validations = {
        f"patchcore/{name}": Validation.read(write_validation(tmp_path / name, GOOD, [[score, score] for _ in GOOD]))
        for name, score in synthetic.items()
    }
    records = [record(name, image_auroc=test.get(name.replace("+", "_"))) for name in synthetic]  # type: ignore[arg-type]
    return choose(records, validations, choose_by=choose_by, metric="image_auroc", min_gain=min_gain)


def test_clearly_higher_proxy_is_taken_whatever_the_test_split_says(tmp_path: Path) -> None:
    choice = chosen(tmp_path, {"none": 0.1, "rotations": 0.9}, none=0.99, rotations=0.9)
    assert (choice.record.trial, choice.rule) == ("patchcore/rotations", PROXY)
    assert choice.best_on_test == "patchcore/none"
    assert choice.regret == pytest.approx(0.09)
    assert [row.verdict for row in choice.candidates] == ["lower proxy", "chosen"]
    assert "12 held-out good images" in choice.reason


def test_difference_within_its_error_goes_to_the_simpler_set(tmp_path: Path) -> None:
    low = [[0.5, 0.5]] * 12
    high = [[0.52, 0.52]] * 11 + [[0.95, 0.95]]
    found = {
        "patchcore/none": Validation.read(write_validation(tmp_path / "none", GOOD, low)),
        "patchcore/generated": Validation.read(write_validation(tmp_path / "generated", GOOD, high)),
    }
    records = [record("generated"), record("none")]
    choice = choose(records, found, choose_by="auto", metric="image_auroc")
    assert choice.record.training_set == "none"
    behind, error = choice.candidates[1].behind, choice.candidates[1].error
    assert 0 < behind <= error
    assert choice.candidates[0].verdict == "no better than the simpler set, within the standard error"
    assert choice.regret is None


def test_generated_images_must_gain_as_much_as_asked_for(tmp_path: Path) -> None:
    proxies = {"none": 0.1, "rotations": 0.4, "rotations+generated": 0.9}
    assert chosen(tmp_path / "a", proxies).record.training_set == "rotations+generated"
    assert chosen(tmp_path / "b", proxies, min_gain=0.6).record.training_set == "rotations"


def test_sets_are_ordered_by_what_they_need() -> None:
    names = ["none", "rotations", "augmented", "rotations+augmented", "generated", "rotations+generated"]
    assert sorted(set(names), key=simplicity) == names


def test_detectors_with_too_many_false_alarms_are_left_out_unless_all_have(tmp_path: Path) -> None:
    found = {
        f"patchcore/{name}": Validation.read(write_validation(tmp_path / name, GOOD, [[score]] * 12))
        for name, score in (("none", 0.1), ("rotations", 0.9))
    }
    records = [
        record("none", validation_false_alarm_rate=0.1),
        record("rotations", validation_false_alarm_rate=0.5),
    ]

    def by(limit: float) -> str:
        rule = {"choose_by": "proxy", "metric": "image_auroc"}
        return choose(records, found, max_false_alarm_rate=limit, **rule).record.training_set  # type: ignore[arg-type]

    assert (by(1.0), by(0.2), by(0.05)) == ("rotations", "none", "rotations")


def test_without_a_proxy_the_test_split_decides_and_says_so(tmp_path: Path) -> None:
    records = [record("none", image_auroc=0.8), record("rotations", image_auroc=0.9)]
    choice = choose(records, {}, choose_by="auto", metric="image_auroc")
    assert (choice.record.training_set, choice.rule, choice.regret) == ("rotations", TEST, 0.0)
    assert "since no detector could be validated" in choice.reason
    assert "optimistic" in choice.reason
    asked = chosen(tmp_path, {"none": 0.1, "rotations": 0.9}, choose_by="test", none=0.99, rotations=0.9)
    assert (asked.record.training_set, asked.rule) == ("none", TEST)


def test_without_any_measurement_the_simplest_set_of_the_first_detector_is_taken() -> None:
    records = [record("rotations"), record("none"), record("none", "padim")]
    choice = choose(records, {"patchcore/none": None}, choose_by="auto", metric="image_auroc")
    assert (choice.record.trial, choice.rule) == ("patchcore/none", SIMPLEST)
    assert (choice.regret, choice.best_on_test) == (None, "")


def test_rule_that_was_asked_for_and_cannot_be_is_an_error() -> None:
    with pytest.raises(InputError, match=r"registration.choose_by: got 'proxy', expected auto or test: .* 2 held-out"):
        choose([record("none", image_auroc=0.9)], {}, choose_by="proxy", metric="image_auroc")
    with pytest.raises(InputError, match="'image_auroc', which needs bad test images"):
        choose([record("none")], {}, choose_by="test", metric="image_auroc")
