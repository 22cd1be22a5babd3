"""The threshold by the scores of good images, and which images these are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import CONFIG, ImageSet, new_image_set, read_json
from components.detection.threshold import (
    estimate,
    expected_rate,
    find_threshold,
    guaranteed_rate,
    prediction_bound,
    rate_interval,
)
from components.detection.train import train_detector
from components.detection.training_sets import Sources, load_training_set
from components.detection.validation import validate
from components.detectors.config import Config
from components.detectors.detector import Detector, fit
from components.errors import InputError
from tests.components.image_sets import part, write_added, write_reference


def write_calibrated(path: Path, given: int, calibration: int) -> Path:
    with new_image_set(path) as (writer, _):
        for split, count in (("train", given), ("calibration", calibration)):
            for index in range(count):
                writer.add(part(150, 50 + index), id=f"{split}-good-{index}", split=split, source=f"{index}.png")
    return path


@pytest.mark.parametrize(
    ("count", "rate", "expected"), [(99, 0.01, 99), (100, 0.01, 100), (199, 0.01, 198), (19, 0.05, 19), (20, 0.1, 19)]
)
def test_enough_images_give_the_conformal_rank(count: int, rate: float, expected: int) -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1, count + 1)).astype(float).tolist()
    assert estimate(scores, rate) == (expected, "conformal")
    assert guaranteed_rate(count, rate) <= rate + 1e-12


def test_conformal_threshold_holds_the_rate_for_skewed_scores() -> None:
    """The mean false-alarm rate over many draws of 99 images is the stated 1 %, whatever the distribution."""
    generator = np.random.default_rng(0)
    thresholds = [estimate(generator.lognormal(size=99).tolist(), 0.01)[0] for _ in range(2000)]
    fresh = np.sort(generator.lognormal(size=200_000))
    rates = 1 - np.searchsorted(fresh, thresholds) / len(fresh)
    assert float(rates.mean()) == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize("count", [2, 5, 20])
def test_few_normal_scores_give_the_expected_rate(count: int) -> None:
    """The rate that the rule `normal` is said to have is the one that it has, averaged over draws."""
    generator = np.random.default_rng(1)
    expected, measured = [], []
    for _ in range(3000):
        scores = generator.normal(size=count).tolist()
        value, rule = estimate(scores, 0.01)
        assert rule == "normal"
        assert value >= max(scores)
        expected.append(expected_rate(scores, value))
        measured.append(value)
    fresh = np.sort(generator.normal(size=200_000))
    rates = 1 - np.searchsorted(fresh, measured) / len(fresh)
    assert float(np.mean(expected)) == pytest.approx(float(rates.mean()), rel=0.15)
    assert float(np.mean(expected)) > 0.01


def test_one_score_is_the_threshold() -> None:
    assert estimate([3.0], 0.01) == (3.0, "maximum")
    assert guaranteed_rate(1, 0.01) == 0.5


def test_equal_scores_have_no_spread() -> None:
    assert estimate([2.0, 2.0, 2.0], 0.01) == (2.0, "normal")
    assert expected_rate([2.0, 2.0, 2.0], 2.0) == 0.0


def test_calibration_images_go_first(tmp_path: Path) -> None:
    reference = write_calibrated(tmp_path / "reference", given=2, calibration=9)
    config = Config(false_alarm_rate=0.1)
    result = train_detector(reference, reference, reference, tmp_path / "detector", config)
    assert (result["threshold_source"], result["threshold_images"]) == ("calibration", 9)
    assert result["training_images"] == 2
    detector = Detector(tmp_path / "detector")
    images = ImageSet(reference)
    scores = detector.predict(images.tensor(images.ids("calibration")))[0]
    assert detector.threshold.value == pytest.approx(float(scores.max()), rel=1e-6)
    assert detector.threshold.rule == "conformal"
    assert detector.threshold.promised_rate == detector.threshold.guaranteed_rate == pytest.approx(0.1)


def test_more_images_than_folds_are_cross_validated(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", given=5)
    config = Config(threshold_folds=2)
    result = train_detector(reference, reference, reference, tmp_path / "detector", config)
    assert (result["threshold_source"], result["threshold_images"]) == ("cross-validation", 5)


@pytest.mark.parametrize(
    ("detector", "training_set", "source", "images"),
    [("patchcore", "augmented", "own-patches", 1), ("padim", "rotations", "turned-copies", 3)],
)
def test_one_given_image_holds_nothing_out_and_says_so(
    tmp_path: Path, detector: str, training_set: str, source: str, images: int
) -> None:
    reference = write_reference(tmp_path / "reference", given=1)
    augmented = write_added(tmp_path / "augmented", 4, ["train-good-0"])
    config = Config(detector=detector, training_set=training_set)
    result = train_detector(reference, augmented, augmented, tmp_path / "detector", config)
    content = read_json(tmp_path / "detector" / CONFIG)
    stored = content["threshold"]
    assert (stored["source"], stored["images"], stored["guaranteed_rate"]) == (source, images, None)
    assert (stored["lowest_rate"], stored["highest_rate"], stored["expected_rate"]) == (0.0, 1.0, None)
    assert content["validation"]["method"] == result["validation"] == "none"
    assert "second one" in content["validation"]["note"]
    trained = Detector(tmp_path / "detector")
    assert trained.threshold.promised_rate is None
    copies = ImageSet(augmented)
    seen = trained.predict(copies.tensor(copies.ids("train")))[0]
    assert stored["value"] > float(seen.max())


def test_few_images_set_no_lower_a_threshold_than_their_own_patches(tmp_path: Path) -> None:
    """The mean over the images of what one alone would set, but where the scores say more, or the rule's value."""
    reference = write_reference(tmp_path / "reference")
    sources, config = Sources(reference=reference, augmented=reference, selected=reference), Config()
    model: Any = fit(load_training_set(sources, config), config)
    validation = validate(model, sources, config)
    images = ImageSet(reference)
    own = float(model.own_scores(images.tensor(images.ids("train"))).mean())
    by_rule, rule = estimate(validation.good_scores, config.false_alarm_rate)
    assert rule == "normal"
    for scores, expected in (
        (validation.good_scores, max(by_rule, min(own, prediction_bound(validation.good_scores, 0.01)))),
        ([0.5 * own, 0.52 * own], own),
        ([0.001 * own, 0.002 * own], prediction_bound([0.001 * own, 0.002 * own], config.false_alarm_rate)),
    ):
        for row, score in zip(validation.rows, scores, strict=True):
            row["score"] = score
        found = find_threshold(model, validation, sources, config)
        assert found.value == pytest.approx(expected, rel=1e-5)
        assert found.source == "leave-one-out"


@pytest.mark.parametrize("count", [2, 5, 16])
def test_new_normal_score_is_over_the_prediction_bound_at_the_rate(count: int) -> None:
    generator = np.random.default_rng(0)
    drawn = generator.normal(size=(4000, count + 1))
    over = [row[-1] > prediction_bound(row[:-1].tolist(), 0.05) for row in drawn]
    assert np.mean(over) == pytest.approx(0.05, abs=0.012)


def test_interval_of_the_rate_is_the_binomial_one() -> None:
    """Over the maximum of n scores, a rate p is exceeded with probability (1 - p) ** n."""
    lowest, highest = rate_interval(19, 0.01)
    assert lowest == 0.0
    assert (1 - highest) ** 19 == pytest.approx(0.1)
    lowest, highest = rate_interval(99, 0.1)
    generator = np.random.default_rng(0)
    thresholds = [estimate(generator.uniform(size=99).tolist(), 0.1)[0] for _ in range(4000)]
    rates = 1 - np.array(thresholds)
    assert float(((lowest <= rates) & (rates <= highest)).mean()) == pytest.approx(0.9, abs=0.015)


@pytest.mark.parametrize(("field", "value"), [("false_alarm_rate", 0.0), ("threshold_folds", 1)])
def test_settings_are_checked(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"detection\.{field}: got {value}"):
        Config(**{field: value})  # type: ignore[arg-type]
