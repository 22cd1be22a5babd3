"""The threshold by the scores of good images, and which images these are."""

from pathlib import Path

import numpy as np
import pytest

from components.artifacts import CONFIG, new_image_set, read_json
from components.detection.threshold import estimate, expected_rate, guaranteed_rate
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector
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
    from components.artifacts import ImageSet

    images = ImageSet(reference)
    scores = detector.predict(images.tensor(images.ids("calibration")))[0]
    assert detector.threshold.value == pytest.approx(float(scores.max()), rel=1e-6)
    assert detector.threshold.rule == "conformal"
    assert detector.threshold.guaranteed_rate == pytest.approx(0.1)


def test_given_image_is_scored_by_a_detector_without_it(tmp_path: Path) -> None:
    """The scores are those of a detector trained on the other image alone, as training it by hand gives."""
    from components.artifacts import ImageSet
    from components.detection.threshold import held_out_scores
    from components.detection.training_sets import Sources
    from components.detectors.detector import fit, predict

    reference = write_reference(tmp_path / "reference")
    images = ImageSet(reference)
    first, second = (images.tensor([id]) for id in images.ids("train"))
    config = Config()
    sources = Sources(reference=reference, augmented=reference, selected=reference)
    source, scores = held_out_scores(fit(first, config), sources, config)
    assert source == "leave-one-out"
    by_hand = [predict(fit(second, config), first)[0], predict(fit(first, config), second)[0]]
    assert scores == pytest.approx([float(score) for score in by_hand])


def test_more_images_than_folds_are_cross_validated(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", given=5)
    config = Config(threshold_folds=2)
    result = train_detector(reference, reference, reference, tmp_path / "detector", config)
    assert (result["threshold_source"], result["threshold_images"]) == ("cross-validation", 5)


@pytest.mark.parametrize("training_set", ["none", "augmented"])
def test_one_given_image_leaves_its_copies_and_says_so(tmp_path: Path, training_set: str) -> None:
    reference = write_reference(tmp_path / "reference", given=1)
    augmented = write_added(tmp_path / "augmented", 4, ["train-good-0"])
    config = Config(training_set=training_set, threshold_folds=2)
    train_detector(reference, augmented, augmented, tmp_path / "detector", config)
    stored = read_json(tmp_path / "detector" / CONFIG)["threshold"]
    assert (stored["source"], stored["images"], stored["guaranteed_rate"]) == ("augmented-copies", 4, None)
    assert stored["false_alarm_rate"] == 0.01
    if training_set == "augmented":
        from components.artifacts import ImageSet

        copies = ImageSet(augmented)
        seen = Detector(tmp_path / "detector").predict(copies.tensor(copies.ids("train")))[0]
        assert stored["value"] > float(seen.max())


@pytest.mark.parametrize(("field", "value"), [("false_alarm_rate", 0.0), ("threshold_folds", 1)])
def test_settings_are_checked(field: str, value: float) -> None:
    with pytest.raises(InputError, match=rf"detection\.{field}: got {value}"):
        Config(**{field: value})  # type: ignore[arg-type]
