"""MVTec LOCO AD's regions keep their mask files, names and saturation thresholds apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.artifacts import IMAGES, MANIFEST, PREPROCESSING, REGIONS, ImageSet
from components.dataset.config import Config
from components.dataset.ingest import ingest_dataset
from components.dataset.regions import DefectType, read_defect_types
from components.errors import InputError
from tests.components.image_sets import SIZE
from tests.components.published import DEFECTS, LOGICAL_SLOTS, SCRATCH, grey_mask, write_loco_class
from tests.components.trees import noise, save


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_loco_class(tmp_path / "breakfast_box")


def _ingest(root: Path, size: int = SIZE, layout: str = "loco", **fields: Any) -> ImageSet:
    ingest_dataset(root.parent / "reference", Config(uri=str(root), layout=layout, image_size=size, **fields))
    return ImageSet(root.parent / "reference")


def test_regions_of_an_image_are_kept_apart_beside_their_union(root: Path) -> None:
    images = _ingest(root)

    first, second = images.regions("test-logical_anomalies-001")
    assert (first.name, first.saturation) == (second.name, second.saturation) == ("missing_piece", 256 / (8 * SIZE))
    for region, rows in zip((first, second), LOGICAL_SLOTS, strict=True):
        np.testing.assert_array_equal(region.mask, grey_mask(rows, slice(None), 1) > 0)
    np.testing.assert_array_equal(images.mask("test-logical_anomalies-001"), first.mask | second.mask)
    (scratch,) = images.regions("test-structural_anomalies-000")
    assert (scratch.name, scratch.saturation) == ("scratch", 1.0)
    np.testing.assert_array_equal(scratch.mask, grey_mask(SCRATCH, SCRATCH, 1) > 0)
    assert images.regions("test-good-000") == []
    assert {path.name for path in images.path.iterdir()} == {MANIFEST, IMAGES, REGIONS, PREPROCESSING}


def test_digest_depends_on_the_saturation_thresholds(root: Path) -> None:
    before = _ingest(root).digest
    changed = [dict(entry, saturation_threshold=entry["saturation_threshold"] / 2) for entry in DEFECTS]
    (root / "defects_config.json").write_text(json.dumps(changed), encoding="utf-8")

    assert _ingest(root).digest != before


def test_pixels_of_a_threshold_are_those_of_the_published_size(tmp_path: Path) -> None:
    """Of a region of 256 x 32 pixels, 2048 are enough: a quarter, in a set of any size."""
    root = write_loco_class(tmp_path / "part")
    save(root / "test" / "logical_anomalies" / "000.png", noise(0, 256, 128))
    mask = np.zeros((256, 128), dtype=np.uint8)
    mask[:, 32:64] = 254
    for index in range(2):
        save(root / "ground_truth" / "logical_anomalies" / "000" / f"{index:03d}.png", mask)
    config = [dict(DEFECTS[0], saturation_threshold=2048), *DEFECTS[1:]]
    (root / "defects_config.json").write_text(json.dumps(config), encoding="utf-8")

    region, _ = _ingest(root).regions("test-logical_anomalies-000")

    assert region.saturation == 0.25
    assert np.flatnonzero(region.mask.all(axis=0)).tolist() == list(range(16, 32))


@pytest.mark.parametrize(
    ("threshold", "relative", "area", "saturation"),
    [
        (1.0, True, 10, 1.0),
        (0.5, True, 11, 5 / 11),
        (0.01, True, 10, 0.1),
        (4, False, 10, 0.4),
        (40, False, 10, 1.0),
    ],
)
def test_saturation_is_a_share_of_the_region(threshold: float, relative: bool, area: int, saturation: float) -> None:
    assert DefectType(name="", threshold=threshold, relative=relative).saturation(area) == saturation


def test_class_without_thresholds_has_no_regions(root: Path) -> None:
    (root / "defects_config.json").unlink()

    images = _ingest(root)

    assert images.regions("test-logical_anomalies-000") == []
    assert images.mask("test-logical_anomalies-000") is not None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", r"defects_config\.json: not JSON"),
        ("{}", r"defects_config\.json: got 'dict', expected a list of defects"),
        ('[{"defect_name": "x"}]', "expected the keys defect_name, pixel_value, saturation_threshold"),
        (json.dumps([dict(DEFECTS[0], pixel_value=0)]), "pixel_value: got 0, expected 1 to 255"),
        (json.dumps([dict(DEFECTS[0], relative_saturation=1)]), "relative_saturation: got 1, expected true or false"),
        (json.dumps([dict(DEFECTS[1], saturation_threshold=2)]), "got 2, expected a share above 0, at most 1"),
        (json.dumps([dict(DEFECTS[0], saturation_threshold=-3)]), "got -3, expected a positive number of pixels"),
        (json.dumps([dict(DEFECTS[0], defect_name=7)]), "defect_name: got 7, expected a text"),
        (json.dumps([DEFECTS[0], DEFECTS[0]]), "pixel_value: got 254, expected each value once"),
    ],
)
def test_damaged_thresholds_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "defects_config.json").write_text(content, encoding="utf-8")

    with pytest.raises(InputError, match=message):
        read_defect_types(tmp_path / "defects_config.json", "part/defects_config.json")


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (grey_mask(SCRATCH, SCRATCH, 7), r"000\.png: got 7, expected a pixel_value of defects_config\.json"),
        (grey_mask(SCRATCH, SCRATCH, 254) + grey_mask(slice(0, 3), SCRATCH, 253), r"got \[253, 254\], expected one"),
        (np.stack([grey_mask(SCRATCH, SCRATCH, 254)] * 3, axis=2), "got '3 dimensions', expected a grey image"),
    ],
)
def test_mask_that_marks_no_known_defect_is_named(root: Path, mask: Any, message: str) -> None:
    save(root / "ground_truth" / "structural_anomalies" / "000" / "000.png", mask)

    with pytest.raises(InputError, match=message):
        _ingest(root)


@pytest.mark.parametrize("calibration", [0, 2])
def test_calibration_images_come_from_the_validation_images(root: Path, calibration: int) -> None:
    images = _ingest(root, shots=4, calibration=calibration)

    drawn = [f"{index:03d}" for index in np.random.default_rng(0).permutation(3)]
    assert images.ids("train") == [f"train-good-{index:03d}" for index in np.random.default_rng(0).permutation(4)]
    assert images.ids("calibration") == [f"calibration-good-{name}" for name in drawn[:calibration]]
    assert images.ids("validation") == [f"validation-good-{name}" for name in sorted(drawn[calibration:])]


def test_more_calibration_images_than_validation_images_are_refused(root: Path) -> None:
    with pytest.raises(InputError, match=r"dataset\.calibration: got 4, expected at most 3 validation images"):
        _ingest(root, calibration=4)
