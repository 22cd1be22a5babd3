"""Tests of the rule that says whether to train again."""

import numpy as np
import pytest

from components.change.config import ChangeLimits
from components.change.rule import Scores, retrain_hint
from components.change.shift import STATISTICS, Looks
from components.errors import InputError

LIMITS = ChangeLimits(permutations=499)


def looks(seed: int, count: int, shift: float = 0.0) -> Looks:
    generator = np.random.default_rng(seed)
    statistics = {name: generator.normal(shift if name == "brightness" else 0, 1, count) for name in STATISTICS}
    return Looks(embeddings=generator.normal(shift, 1, (count, 6)), statistics=statistics)


def scores(seed: int, reference: int, new: int, shift: float = 0.0, threshold: float | None = None) -> Scores:
    generator = np.random.default_rng(seed)
    return Scores(reference=generator.normal(0, 1, reference), new=generator.normal(shift, 1, new), threshold=threshold)


def test_no_hint_where_nothing_has_changed() -> None:
    hint = retrain_hint(looks(0, 20), looks(1, 12), LIMITS, scores(2, 20, 12, threshold=2.0))
    assert hint.retrain == "no"
    assert hint.reasons == ("no change found at a false alarm rate of 0.05",)


def test_false_alarms_of_all_tests_together_are_as_stated() -> None:
    limits = ChangeLimits(permutations=199, min_shift=0, min_superiority=0.5, max_false_alarm_rate=0)
    hints = [
        retrain_hint(looks(s, 12), looks(1_000 + s, 8), limits, scores(2_000 + s, 12, 8, threshold=1.0)).retrain
        for s in range(200)
    ]
    assert hints.count("yes") <= 10 + 4 * np.sqrt(200 * 0.05 * 0.95)


def test_other_looks_name_what_has_changed() -> None:
    hint = retrain_hint(looks(0, 20), looks(1, 12, shift=2.0), LIMITS)
    assert hint.retrain == "yes"
    (reason,) = hint.reasons
    assert reason.startswith("the good images look different (")
    assert "changed: brightness " in reason
    assert "contrast" not in reason


def test_small_shift_is_no_reason_however_sure() -> None:
    hint = retrain_hint(looks(0, 400), looks(1, 400, shift=0.2), ChangeLimits(permutations=199, min_shift=0.5))
    assert hint.embedding is not None
    assert hint.embedding.p_value <= 0.01
    assert hint.retrain == "no"


def test_higher_scores_and_more_false_alarms() -> None:
    hint = retrain_hint(looks(0, 30), looks(1, 30), LIMITS, scores(2, 30, 30, shift=2.0, threshold=1.5))
    assert hint.retrain == "yes"
    assert hint.reasons[0].startswith("good images score higher: ")
    assert "of the good images are over the threshold, earlier" in hint.reasons[1]


def test_threshold_that_never_held_is_no_drift() -> None:
    hint = retrain_hint(looks(0, 30), looks(1, 30), LIMITS, scores(2, 30, 30, threshold=-5.0))
    assert hint.scores is not None
    assert (hint.scores.false_alarm_rate, hint.scores.reference_false_alarm_rate) == (1.0, 1.0)
    assert hint.retrain == "no"


def test_lower_scores_are_no_reason() -> None:
    assert retrain_hint(looks(0, 30), looks(1, 30), LIMITS, scores(2, 30, 30, shift=-3.0)).retrain == "no"


def test_detector_without_a_threshold() -> None:
    hint = retrain_hint(looks(0, 20), looks(1, 20), LIMITS, scores(2, 20, 20))
    assert hint.scores is not None
    assert hint.scores.false_alarm_rate is None
    assert hint.scores.false_alarm_p_value is None


@pytest.mark.parametrize(("reference", "new"), [(3, 2), (1, 5), (10, 1), (0, 5), (5, 0)])
def test_too_few_images_for_a_test(reference: int, new: int) -> None:
    hint = retrain_hint(looks(0, reference), looks(1, new, shift=9.0), LIMITS)
    assert hint.retrain == "unknown"
    assert hint.reasons == (f"too few images for a test: {new} new and {reference} of the reference",)


def test_one_image_against_many_can_be_told() -> None:
    assert retrain_hint(looks(0, 40), looks(1, 1, shift=9.0), LIMITS).retrain == "yes"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha", 0.0),
        ("alpha", 1.0),
        ("min_shift", -1.0),
        ("min_superiority", 0.4),
        ("max_false_alarm_rate", 1.1),
        ("permutations", 10),
        ("seed", -1),
    ],
)
def test_limits_out_of_range(field: str, value: float) -> None:
    values: dict[str, float] = {field: value}
    with pytest.raises(InputError, match=field):
        ChangeLimits(**values)  # type: ignore[arg-type]
