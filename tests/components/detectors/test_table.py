from pathlib import Path
from typing import Any

import pytest
import torch

from components.artifacts import CONFIG, WEIGHTS, read_json
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector, fit
from components.errors import InputError
from tests.components.image_sets import DEFECT, write_added, write_reference


def test_trained_detector_is_loaded_with_equal_scores_and_finds_the_defect(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference")
    result = train_detector(reference, reference, reference, tmp_path / "detector", Config())
    assert result["training_images"] == 2
    assert {path.name for path in (tmp_path / "detector").iterdir()} == {CONFIG, WEIGHTS}
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


@pytest.mark.parametrize(("limit", "kept"), [(2500, 12), (10, 10)])
def test_coreset_limit_lowers_the_ratio_only_where_it_must(limit: int, kept: int) -> None:
    """Two images of 64 pixels have 128 patches, of which a tenth is kept."""
    model: Any = fit(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)), Config(coreset_limit=limit))
    assert len(model.model.memory_bank) == kept


def test_config_names_field_value_and_expectation() -> None:
    with pytest.raises(InputError, match=r"detection\.detector: got 'fastflow', expected one of patchcore, cflow"):
        Config(detector="fastflow")
    with pytest.raises(InputError, match=r"detection\.training_set: got 'web', expected one of none, rotations"):
        Config(training_set="web")
    with pytest.raises(InputError, match=r"detection\.coreset_ratio: got 0"):
        Config(coreset_ratio=0)
