import re
from pathlib import Path
from typing import Any

import pytest
import torch

from components.artifacts import CONFIG, VALIDATION, VALIDATION_MAPS, WEIGHTS, read_json
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector, fit
from components.errors import InputError
from tests.components.image_sets import DEFECT, write_added, write_reference


def test_trained_detector_is_loaded_with_equal_scores_and_finds_the_defect(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference")
    result = train_detector(reference, reference, reference, tmp_path / "detector", Config())
    assert result["training_images"] == 2
    assert {path.name for path in (tmp_path / "detector").iterdir()} == {
        CONFIG,
        WEIGHTS,
        VALIDATION,
        VALIDATION_MAPS,
    }
    assert read_json(tmp_path / "detector" / CONFIG)["bank"] == {"patches": 128, "seen": 128}
    assert (result["bank_patches"], result["bank_seen"]) == (128, 128)
    assert read_json(tmp_path / "detector" / CONFIG)["image_size"] == 64

    from components.artifacts import ImageSet

    images = ImageSet(reference)
    detector = Detector(tmp_path / "detector")
    good, _ = detector.predict(images.tensor(images.ids("test", "good")))
    bad, maps = detector.predict(images.tensor(images.ids("test", "bad")))
    assert bad.min() > good.max()
    assert maps.shape == (4, 64, 64)
    inside = maps[:, DEFECT, DEFECT].mean()
    assert inside > 1.2 * maps.mean()


def test_same_seed_gives_the_same_digits(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference")
    added = write_added(tmp_path / "added", 4, ["train-good-0"])
    for name in ("first", "again"):
        train_detector(reference, added, added, tmp_path / name, Config(training_set="augmented"))
    assert (tmp_path / "first" / WEIGHTS).read_bytes() == (tmp_path / "again" / WEIGHTS).read_bytes()


def test_loaded_detector_equals_the_trained_module(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference")
    train_detector(reference, reference, reference, tmp_path / "detector", Config(seed=3))

    from components.artifacts import ImageSet
    from components.compute import seed_everything

    images = ImageSet(reference)
    seed_everything(3)
    module = fit(images.tensor(images.ids("train", "good")), Config(seed=3))
    test = images.tensor(images.ids("test"))
    with torch.inference_mode():
        expected = module(test).pred_score.flatten()
    torch.testing.assert_close(Detector(tmp_path / "detector").predict(test)[0], expected)


@pytest.mark.parametrize(
    ("limit", "ratio", "kept"), [(2500, 1.0, 128), (100, 1.0, 100), (2500, 0.1, 13), (10, 0.1, 10)]
)
def test_all_patches_are_kept_up_to_the_limit(limit: int, ratio: float, kept: int) -> None:
    """Two images of 64 pixels have 128 patches."""
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    model: Any = fit(images, Config(coreset_limit=limit, coreset_ratio=ratio))
    assert len(model.bank.patches) == kept
    assert model.bank.seen == 128


def test_copies_of_the_given_image_change_nothing(tmp_path: Path) -> None:
    """The control: a bank with the given image 17 times finds what a bank with it once does."""
    reference = write_reference(tmp_path / "reference", given=1)
    added = write_added(tmp_path / "added", 16, ["train-good-0"])
    for training_set in ("none", "repeated"):
        config = Config(training_set=training_set, num_neighbors=1, coreset_limit=600)
        result = train_detector(reference, added, added, tmp_path / training_set, config)
        assert result["training_images"] == (17 if training_set == "repeated" else 1)

    from components.artifacts import ImageSet

    images = ImageSet(reference)
    test = images.tensor(images.ids("test"))
    once, repeated = (Detector(tmp_path / name).predict(test) for name in ("none", "repeated"))
    torch.testing.assert_close(repeated, once, rtol=1e-4, atol=1e-3)


def test_config_names_field_value_and_expectation() -> None:
    with pytest.raises(InputError, match=r"detection\.detector: got 'fastflow', expected one of patchcore, cflow"):
        Config(detector="fastflow")
    for name in ("web", "none+rotations", "rotations+rotations", "rotations+"):
        parts = "none, rotations, augmented, generated, shifts, repeated"
        message = f"detection.training_set: got '{name}', expected one of {parts}"
        with pytest.raises(InputError, match=re.escape(message)):
            Config(training_set=name)
    with pytest.raises(InputError, match=r"detection\.coreset_ratio: got 0"):
        Config(coreset_ratio=0)
