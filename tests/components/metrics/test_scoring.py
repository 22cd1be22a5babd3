"""Metrics with known answers, and the digest that says which figures may be compared."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from components.artifacts import ImageSet, new_image_set
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector
from components.metrics.measures import defect_auroc, image_metrics, one_core, threshold_metrics
from components.metrics.scoring import MEASUREMENT_VERSION, TestSplit
from components.preprocessing.transform import Preprocessing
from tests.components.image_sets import write_reference
from tests.components.metrics.pixel_figures import pixel_metrics


def split(reference: Path, aupro_limit: float = 0.3) -> TestSplit:
    return TestSplit(reference, aupro_limit=aupro_limit, latency_images=1)


def copy_test_split(source: Path, target: Path, **changed: Any) -> Path:
    """The test images of a set under other names and in another order; what is given replaces that of the last."""
    images = ImageSet(source)
    with new_image_set(target) as (writer, _):
        for index, id in enumerate(reversed(images.ids("test"))):
            (row,) = images.manifest[images.manifest["id"] == id].to_dict("records")
            own: dict[str, Any] = {
                "image": images.image(id),
                "mask": images.mask(id),
                "label": row["label"],
                "defect": row["defect"],
            }
            own |= changed if index == 0 else {}
            writer.add(**own, id=f"image-{index}", split="test", source="elsewhere")
    return target


def test_digest_depends_on_pixels_and_labels_only(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", given=1)
    expected = split(reference).digest
    assert split(copy_test_split(reference, tmp_path / "copied")).digest == expected
    last = ImageSet(reference).ids("test", "bad")[-1]
    image = ImageSet(reference).image(last).copy()
    image[0, 0, 0] ^= 1
    mask = np.zeros(image.shape[:2], dtype=bool)
    changes = {"image": image, "mask": mask, "defect": "scratch", "label": "good"}
    digests = [
        split(copy_test_split(reference, tmp_path / name, **{name: value})).digest for name, value in changes.items()
    ]
    assert len({expected, *digests}) == 1 + len(changes)
    assert split(reference, aupro_limit=0.2).digest != expected


def test_defects_are_measured_one_by_one_against_all_good_images() -> None:
    scores = np.array([1.0, 2.0, 3.0, 9.0, 1.5, 2.5], dtype=np.float32)
    labels = np.array([False, False, False, True, True, True])
    found = defect_auroc(scores, labels, ["", "", "", "hole", "scratch", "scratch"])
    assert found == pytest.approx({"hole": 1.0, "scratch": (1 / 3 + 2 / 3) / 2})


def test_detector_of_another_size_is_measured_on_the_same_masks(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference")
    train_detector(reference, reference, reference, tmp_path / "detector", Config())
    detector = Detector(tmp_path / "detector")
    shapes: list[tuple[int, ...]] = []
    own = split(reference).measure(detector)
    detector.preprocessing = Preprocessing.untouched(48)
    resized = split(reference).measure(detector, lambda maps: shapes.append(tuple(maps.shape)))
    count, height, width = split(reference).maps_shape
    assert [(len(shapes), *shape[1:]) for shape in shapes] == [(1, height, width)]
    assert shapes[0][0] == count == len(own.scores)
    assert resized.record.image_auroc == own.record.image_auroc == 1.0
    assert resized.defect_auroc == {"hole": 1.0}
    assert (resized.record.pixel_auroc or 0) > 0.9
    assert resized.record.pixel_auroc != own.record.pixel_auroc


def test_image_metrics_of_known_scores() -> None:
    scores = np.array([10.0, 20.0, 30.0, 40.0], dtype=np.float32)
    labels = np.array([False, True, False, True])
    metrics = image_metrics(scores, labels)
    assert metrics["image_auroc"] == pytest.approx(0.75)
    assert metrics["image_ap"] == pytest.approx((1.0 + 2 / 3) / 2)
    assert metrics["image_f1_max"] == pytest.approx(0.8)


def test_raw_scores_of_any_scale_give_the_same_auroc() -> None:
    scores = np.random.default_rng(0).normal(size=50).astype(np.float32)
    labels = scores + np.random.default_rng(1).normal(size=50) > 0
    assert image_metrics(scores, labels) == image_metrics(scores * 1000 + 5000, labels)


def test_perfect_maps_have_perfect_pixel_metrics() -> None:
    masks = np.zeros((2, 16, 16), dtype=bool)
    masks[0, 4:8, 4:8] = True
    metrics = pixel_metrics(masks.astype(np.float32) * 7, masks, 0.3)
    assert metrics == pytest.approx({"pixel_auroc": 1.0, "aupro": 1.0}, abs=1e-6)


def test_aupro_weighs_regions_equally_and_pixel_auroc_does_not() -> None:
    """A large region is found, a small one is missed."""
    masks = np.zeros((1, 20, 20), dtype=bool)
    masks[0, :10, :10] = True
    masks[0, 15:17, 15:17] = True
    maps = np.zeros((1, 20, 20), dtype=np.float32)
    maps[0, :10, :10] = 1
    metrics = pixel_metrics(maps, masks, 0.3)
    found = 100 / 104
    assert metrics["pixel_auroc"] == pytest.approx(found + (1 - found) / 2)
    # Above the regions' threshold the overlap is a half; from there it rises linearly to 1 at a rate of 1.
    assert metrics["aupro"] == pytest.approx(0.5 + 0.5 * 0.3 / 2, abs=1e-6)


def test_aupro_limit_is_the_end_of_the_integral() -> None:
    masks = np.zeros((1, 10, 10), dtype=bool)
    masks[0, 0, 0] = True
    maps = np.linspace(0, 1, 100, dtype=np.float32).reshape(1, 10, 10)
    assert pixel_metrics(maps, masks, 0.3)["aupro"] == pytest.approx(0.0, abs=1e-6)


def test_rates_at_a_threshold() -> None:
    scores = np.array([1.0, 2.0, 3.0, 2.0, 5.0], dtype=np.float32)
    labels = np.array([False, False, False, True, True])
    assert threshold_metrics(scores, labels, 2.0) == pytest.approx({"false_alarm_rate": 1 / 3, "recall": 0.5})


def test_changed_metrics_need_another_measurement_version() -> None:
    """What MEASUREMENT_VERSION 1 gives for fixed scores and maps: raise the version where these values change."""
    generator = np.random.default_rng(0)
    labels = np.arange(40) % 2 == 1
    scores = (generator.normal(size=40) + labels).astype(np.float32)
    masks = np.zeros((4, 16, 16), dtype=bool)
    masks[:2, 4:9, 4:9], masks[1, 12:14, 2:4] = True, True
    maps = (generator.normal(size=masks.shape) + 2 * masks).astype(np.float32)
    found = {**image_metrics(scores, labels), **pixel_metrics(maps, masks, 0.3)}
    found |= defect_auroc(scores, labels, ["", "hole", "", "scratch"] * 10)
    assert MEASUREMENT_VERSION == 1
    expected = {"image_auroc": 0.9075, "image_ap": 0.90839962, "image_f1_max": 0.85}
    expected |= {"pixel_auroc": 0.90271096, "aupro": 0.78334475, "hole": 0.895, "scratch": 0.92}
    assert found == pytest.approx(expected, abs=1e-5)


def test_one_core_computes_in_one_thread_and_restores() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_core():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
