"""Held-out scores of good images and of synthetic defects on them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from components.artifacts import VALIDATION, VALIDATION_MAPS, WEIGHTS, ImageSet, new_image_set, read_table
from components.detection.train import train_detector
from components.detection.training_sets import Sources, load_training_set
from components.detection.validation import HeldOutScores, validate
from components.detectors.config import Config
from components.detectors.detector import Detector, fit, predict
from components.errors import InputError
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from tests.components.image_sets import DEFECT, SIZE, write_added, write_reference

GIVEN = ("train-good-0", "train-good-1")


def write_synthetic(path: Path, reference: Path, ids: tuple[str, ...] = GIVEN) -> Path:
    """A hole and a scratch on each of some good images, as the synthesis writes them."""
    images = ImageSet(reference)
    with new_image_set(path) as (writer, _):
        for id in ids:
            for family in ("hole", "scratch"):
                image, mask = images.image(id).copy(), np.zeros((SIZE, SIZE), dtype=bool)
                mask[DEFECT, DEFECT if family == "hole" else slice(30, 32)] = True
                image[mask] = 255
                name = f"{id}-{family}"
                writer.add(image, id=name, split="test", label="bad", defect=family, source=id, mask=mask)
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("validation")
    write_reference(root / "reference")
    write_added(root / "added", 4, [*GIVEN])
    write_synthetic(root / "synthetic", root / "reference")
    return root


def sources(root: Path) -> Sources:
    added, synthetic = root / "added", root / "synthetic"
    return Sources(reference=root / "reference", augmented=added, selected=added, synthetic=synthetic)


def test_every_score_is_that_of_a_detector_without_the_image(root: Path) -> None:
    """As training it by hand gives, for the good image and for the synthetic defects on it."""
    config = Config(training_set="augmented")
    found = validate(fit(load_training_set(sources(root), config), config), sources(root), config)
    assert found.method == "leave-one-out"
    scores = {row["id"]: row["score"] for row in found.rows}
    assert len(scores) == 2 + 4
    for id, other in zip(GIVEN, reversed(GIVEN), strict=True):
        reference, added = ImageSet(root / "reference"), ImageSet(root / "added")
        own = added.manifest[added.manifest["source"] == other]["id"].tolist()
        by_hand = fit(torch.cat([reference.tensor([other]), added.tensor(own)]), config)
        assert scores[id] == pytest.approx(float(predict(by_hand, reference.tensor([id]))[0]), rel=1e-5)
        defects = ImageSet(root / "synthetic").tensor([f"{id}-hole", f"{id}-scratch"])
        expected = predict(by_hand, defects)[0].tolist()
        assert [scores[f"{id}-hole"], scores[f"{id}-scratch"]] == pytest.approx(expected, rel=1e-5)
        assert scores[f"{id}-hole"] > scores[id]


def test_table_and_maps_are_written_beside_the_detector(root: Path, tmp_path: Path) -> None:
    sets = root / "reference", root / "added", root / "added"
    result = train_detector(*sets, tmp_path / "detector", Config(), root / "synthetic")
    table = read_table(tmp_path / "detector" / VALIDATION)
    assert table.columns.tolist() == ["id", "source", "kind", "family", "fold", "score"]
    assert table["kind"].tolist() == ["good", "synthetic", "synthetic"] * 2
    assert table["source"].tolist() == [GIVEN[0]] * 3 + [GIVEN[1]] * 3
    assert table["family"].tolist() == ["", "hole", "scratch"] * 2
    assert table["fold"].tolist() == [0] * 3 + [1] * 3
    maps = load_file(tmp_path / "detector" / VALIDATION_MAPS)
    assert set(maps) == {f"{id}-{family}" for id in GIVEN for family in ("hole", "scratch")}
    hole = maps[f"{GIVEN[0]}-hole"].float()
    assert hole.shape == (SIZE, SIZE)
    assert hole[DEFECT, DEFECT].mean() > hole.mean()
    assert result["threshold_images"] == 2


def test_calibration_images_are_scored_by_the_detector_itself(tmp_path: Path) -> None:
    from tests.components.detection.test_threshold import write_calibrated

    reference = write_calibrated(tmp_path / "reference", given=2, calibration=3)
    held_out = ("calibration-good-0", "calibration-good-2")
    synthetic = write_synthetic(tmp_path / "synthetic", reference, (*held_out, "train-good-0"))
    sources = Sources(reference=reference, augmented=reference, selected=reference, synthetic=synthetic)
    config = Config()
    model = fit(load_training_set(sources, config), config)
    found = validate(model, sources, config)
    assert (found.method, len(found.good_scores)) == ("calibration", 3)
    assert {row["source"] for row in found.rows if row["kind"] == "synthetic"} == set(held_out)


def test_maps_of_a_family_are_bounded(root: Path, tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", given=6)
    synthetic = write_synthetic(tmp_path / "synthetic", reference, tuple(f"train-good-{index}" for index in range(6)))
    sources = Sources(reference=reference, augmented=reference, selected=reference, synthetic=synthetic)
    config = Config(threshold_folds=2)
    found: HeldOutScores = validate(fit(load_training_set(sources, config), config), sources, config)
    assert found.method == "cross-validation"
    assert len(found.maps) == 2 * 4
    assert len(found.rows) == 6 + 12


def test_without_a_threshold_nothing_is_held_out(root: Path) -> None:
    config, added = Config(threshold="none"), root / "added"
    facts = train_detector(root / "reference", added, added, root / "bare", config, root / "synthetic")
    threshold = Detector(root / "bare").threshold
    assert (facts["threshold_source"], threshold.value, threshold.images) == ("none", None, 0)
    assert read_table(root / "bare" / VALIDATION).empty
    with pytest.raises(InputError, match=r"detection\.threshold: got 'none', expected good-images"):
        _ = threshold.known
    (record,) = evaluate_detectors(root / "reference", [root / "bare"], root / "measured", EvaluationConfig())
    assert record.image_auroc is not None
    rates = (record.threshold, record.recall, record.false_alarm_rate, record.promised_false_alarm_rate)
    assert rates == (None, None, None, None)


def test_steps_grow_with_the_given_images(root: Path) -> None:
    added, config = root / "added", Config(detector="cflow", threshold="none", cflow_steps=2, steps_images=1)
    for name, own in {"grown": config, "many": config.replace(cflow_steps=4, steps_images=0)}.items():
        train_detector(root / "reference", added, added, root / name, own)
    grown, many = (load_file(root / name / WEIGHTS) for name in ("grown", "many"))
    assert grown.keys() == many.keys()
    assert all(torch.equal(grown[key], many[key]) for key in many)


@pytest.mark.parametrize(("given", "images", "steps"), [(1, 5, 400), (5, 5, 400), (7, 5, 560), (7, 0, 400)])
def test_steps_are_for_a_number_of_given_images(given: int, images: int, steps: int) -> None:
    assert Config(steps_images=images).for_given(given).cflow_steps == steps
