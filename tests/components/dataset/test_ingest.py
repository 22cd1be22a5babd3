"""Ingestion draws the shots, writes all of the reference set or nothing, and names what is wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from components import decode
from components.artifacts import CHOICE, ImageSet, file_sha256, read_json
from components.dataset.config import ALL_SHOTS, Config, FolderConfig
from components.dataset.ingest import import_images, ingest_dataset
from components.errors import InputError
from components.listing.layouts import PLAIN
from components.listing.opened import dataset_digest
from components.preprocessing.transform import preprocessing_of
from tests.components.trees import SIDE, marked, noise, save, write_btad, write_folder, write_loco, write_mvtec


def _config(root: Path, layout: str = "mvtec", shots: int = 1, seed: int = 0) -> Config:
    return Config(uri=str(root), layout=layout, shots=shots, image_size=SIDE, seed=seed)


@pytest.mark.parametrize(
    ("layout", "write", "counts"),
    [
        ("mvtec", write_mvtec, {"train_good": 4, "test_good": 2, "test_bad": 2, "masks": 2}),
        ("btad", write_btad, {"train_good": 3, "test_good": 2, "test_bad": 2, "masks": 2}),
        ("loco", write_loco, {"train_good": 3, "test_good": 2, "test_bad": 1, "masks": 1}),
        ("folder", write_folder, {"train_good": 9, "test_good": 1, "test_bad": 3, "masks": 2}),
    ],
)
def test_every_layout_is_ingested(
    tmp_path: Path, layout: str, write: Callable[[Path], Path], counts: dict[str, int]
) -> None:
    root = write(tmp_path / "part")

    result = ingest_dataset(tmp_path / "reference", _config(root, layout, ALL_SHOTS))

    digest = ImageSet(tmp_path / "reference").digest
    assert result == {**counts, "calibration_good": 0, "left_out": 0, "reference_digest": digest}


def test_reference_holds_pixels_masks_and_origin(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")

    ingest_dataset(tmp_path / "reference", _config(root, shots=ALL_SHOTS))

    images = ImageSet(tmp_path / "reference")
    np.testing.assert_array_equal(images.image("train-good-000"), noise(0))
    np.testing.assert_array_equal(images.image("test-bent-001"), noise(201))
    np.testing.assert_array_equal(images.mask("test-bent-001"), marked() > 0)
    (row,) = images.manifest[images.manifest["id"] == "test-bent-001"].to_dict("records")
    assert row == {
        "id": "test-bent-001",
        "split": "test",
        "label": "bad",
        "defect": "bent",
        "source": "test/bent/001.png",
        "sha256": file_sha256(root / "test" / "bent" / "001.png"),
        "width": SIDE,
        "height": SIDE,
    }


def test_masks_in_a_folder_are_united(tmp_path: Path) -> None:
    root = write_loco(tmp_path / "part")

    ingest_dataset(tmp_path / "reference", _config(root, "loco"))

    mask = ImageSet(tmp_path / "reference").mask("test-logical_anomalies-000")
    assert mask is not None
    assert np.flatnonzero(mask.all(axis=1)).tolist() == [*range(8), *range(32, 40)]


def test_validation_images_are_kept_whole(tmp_path: Path) -> None:
    root = write_loco(tmp_path / "part")

    ingest_dataset(tmp_path / "reference", _config(root, "loco", shots=1))

    assert ImageSet(tmp_path / "reference").ids("validation", "good") == ["validation-good-000", "validation-good-001"]


@pytest.mark.parametrize(("shots", "seed"), [(1, 0), (1, 3), (3, 0), (6, 5)])
def test_shots_are_the_first_of_a_permutation_by_the_seed(tmp_path: Path, shots: int, seed: int) -> None:
    root = write_mvtec(tmp_path / "part", train=6)

    ingest_dataset(tmp_path / "reference", _config(root, shots=shots, seed=seed))

    drawn = np.random.default_rng(seed).permutation(6)[:shots]
    images = ImageSet(tmp_path / "reference")
    assert images.ids("train") == [f"train-good-{index:03d}" for index in drawn]
    assert len(images.ids("test")) == 4


def test_all_shots_take_every_good_training_image(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=6)

    ingest_dataset(tmp_path / "reference", _config(root, shots=ALL_SHOTS))

    assert sorted(ImageSet(tmp_path / "reference").ids("train")) == [f"train-good-{index:03d}" for index in range(6)]


def test_local_data_that_changed_since_its_digest_is_not_ingested(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=3)
    digest = dataset_digest(str(root))
    ingest_dataset(tmp_path / "before", _config(root), digest)

    save(root / "train" / "good" / "more.png", noise(9))

    with pytest.raises(RuntimeError, match=r"part: the data set changed after the run began; run again"):
        ingest_dataset(tmp_path / "after", _config(root), digest)
    assert not (tmp_path / "after").exists()


def test_folder_that_changed_since_its_digest_is_not_imported(tmp_path: Path) -> None:
    folder = write_mvtec(tmp_path / "part", train=3) / "train" / "good"
    config, digest = FolderConfig(uri=str(folder), image_size=64), dataset_digest(str(folder), PLAIN)
    assert import_images(tmp_path / "before", config, digest)["images"] == 3

    next(folder.iterdir()).unlink()

    with pytest.raises(RuntimeError, match="the data set changed after the run began"):
        import_images(tmp_path / "after", config, digest)
    assert not (tmp_path / "after").exists()


def test_data_set_with_a_test_split_is_no_plain_folder(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")

    with pytest.raises(InputError, match=r"images: got .*, expected good images alone, .* but ground_truth/ is part"):
        import_images(tmp_path / "images", FolderConfig(uri=str(root), image_size=64))


@pytest.mark.parametrize("shots", [2, ALL_SHOTS])
def test_calibration_images_are_drawn_after_the_shots(tmp_path: Path, shots: int) -> None:
    root = write_mvtec(tmp_path / "part", train=6)
    config = _config(root, shots=shots, seed=3).replace(calibration=3)

    result = ingest_dataset(tmp_path / "reference", config)

    drawn = np.random.default_rng(3).permutation(6)
    given = shots or 3
    images = ImageSet(tmp_path / "reference")
    assert images.ids("train") == [f"train-good-{index:03d}" for index in drawn[:given]]
    assert images.ids("calibration", "good") == [f"calibration-good-{index:03d}" for index in drawn[given : given + 3]]
    assert result["calibration_good"] == 3


@pytest.mark.parametrize(("shots", "left"), [(3, 1), (ALL_SHOTS, 3)])
def test_more_calibration_images_than_are_left_are_refused(tmp_path: Path, shots: int, left: int) -> None:
    root = write_mvtec(tmp_path / "part", train=4)
    config = _config(root, shots=shots).replace(calibration=left + 1)

    with pytest.raises(InputError, match=rf"dataset.calibration: got {left + 1}, expected at most {left}"):
        ingest_dataset(tmp_path / "out" / "reference", config)


def test_images_of_different_sizes_are_stored_in_one(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=2)
    save(root / "train" / "good" / "large.png", noise(9, height=100, width=150))
    save(root / "test" / "bent" / "000.png", noise(10, height=32, width=48))
    save(root / "ground_truth" / "bent" / "000_mask.png", marked(height=32, width=48))

    ingest_dataset(tmp_path / "reference", _config(root, shots=ALL_SHOTS))

    images = ImageSet(tmp_path / "reference")
    assert images.tensor(images.ids("train")).shape == (3, 3, SIDE, SIDE)
    assert set(images.manifest["width"]) == set(images.manifest["height"]) == {SIDE}
    mask = images.mask("test-bent-000")
    assert mask is not None
    assert mask.shape == (SIDE, SIDE)


def test_odd_pixels_and_defects_outside_of_the_crop_are_counted(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    save(root / "train" / "good" / "000.png", np.full((SIDE, SIDE), 900, dtype=np.uint16))

    result = ingest_dataset(tmp_path / "reference", _config(root, shots=ALL_SHOTS).replace(crop="0,32,64,64"))

    images = ImageSet(tmp_path / "reference")
    assert (result["bit_depth"], result["crop"], result["outside_images"], result["masks"]) == (10, "0,32,64,64", 2, 0)
    assert np.unique(images.image("train-good-000")).tolist() == [900 * 255 // 1023]
    assert images.mask("test-bent-000") is None
    assert preprocessing_of(images).bit_depth == 10


def _remove_all(root: Path) -> None:
    shutil.rmtree(root)


def _remove_train(root: Path) -> None:
    shutil.rmtree(root / "train")


def _empty_train(root: Path) -> None:
    _remove_train(root)
    (root / "train" / "good").mkdir(parents=True)


def _truncate(root: Path) -> None:
    path = root / "test" / "bent" / "001.png"
    path.write_bytes(path.read_bytes()[:1000])


def _write_text(root: Path) -> None:
    (root / "test" / "good" / "001.png").write_text("not an image")


def _orphan_mask(root: Path) -> None:
    save(root / "ground_truth" / "bent" / "007_mask.png", marked())


def _resize_mask(root: Path) -> None:
    save(root / "ground_truth" / "bent" / "001_mask.png", marked(height=32, width=32))


def _clear_mask(root: Path) -> None:
    save(root / "ground_truth" / "bent" / "001_mask.png", marked(rows=0))


def _remove_mask(root: Path) -> None:
    (root / "ground_truth" / "bent" / "001_mask.png").unlink()


def _repeat_stem(root: Path) -> None:
    save(root / "train" / "good" / "002.bmp", noise(0))


def _enlarge(root: Path) -> None:
    save(root / "test" / "good" / "001.png", noise(0, height=65))


def _write_floats(root: Path) -> None:
    save(root / "test" / "good" / "float.tif", np.zeros((SIDE, SIDE), dtype=np.float32))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove_all, r"dataset: .*part is not a folder"),
        (_remove_train, r"dataset: .*part/train/good is not a folder"),
        (_empty_train, r"dataset: no images in .*part/train/good"),
        (_truncate, r"image .*test/bent/001.png: damaged"),
        (_write_text, r"image .*test/good/001.png: not an image"),
        (_orphan_mask, r"mask .*ground_truth/bent/007_mask.png: no image 007 in .*test/bent"),
        (_resize_mask, r"mask .*bent/001_mask.png: size is 32x32, expected 64x64"),
        (_clear_mask, r"mask .*bent/001_mask.png: empty"),
        (_remove_mask, r"image .*test/bent/001.png: no mask, while other images of this folder have one"),
        (_repeat_stem, r"dataset: .*002.bmp and .*002.png have the same name, 002"),
        (_enlarge, r"image .*test/good/001.png: size is 64x65, expected at most 64 megapixels"),
        (_write_floats, r"image.*: holds floating-point values"),
    ],
)
def test_bad_input_gives_one_message_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], None], message: str
) -> None:
    root = write_mvtec(tmp_path / "part")
    spoil(root)
    monkeypatch.setattr(decode, "MEGAPIXEL", SIDE)

    with pytest.raises(InputError, match=message) as caught:
        ingest_dataset(tmp_path / "out" / "reference", _config(root))

    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out/*"))


def test_more_shots_than_images_are_refused(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=4)

    with pytest.raises(InputError, match=r"dataset.shots: got 5, expected at most 4"):
        ingest_dataset(tmp_path / "out" / "reference", _config(root, shots=5))

    assert not list(tmp_path.glob("out/*"))


def test_failure_keeps_the_earlier_reference(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    ingest_dataset(tmp_path / "out" / "reference", _config(root))
    before = ImageSet(tmp_path / "out" / "reference").digest
    _truncate(root)

    with pytest.raises(InputError):
        ingest_dataset(tmp_path / "out" / "reference", _config(root))

    assert ImageSet(tmp_path / "out" / "reference").digest == before


def test_digest_is_that_of_the_content_wherever_it_is(tmp_path: Path) -> None:
    first, second = write_mvtec(tmp_path / "here"), write_mvtec(tmp_path / "there" / "part")

    assert dataset_digest(str(first)) == dataset_digest(str(second))
    assert len(dataset_digest(str(first))) == 64


def test_digest_changes_with_one_byte(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    before = dataset_digest(str(root))
    path = root / "test" / "good" / "000.png"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1

    path.write_bytes(content)

    assert dataset_digest(str(root)) != before


def test_digest_changes_with_a_name(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    before = dataset_digest(str(root))

    (root / "train" / "good" / "000.png").rename(root / "train" / "good" / "first.png")

    assert dataset_digest(str(root)) != before


def test_digest_of_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"dataset: .*absent is not a folder"):
        dataset_digest(str(tmp_path / "absent"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("uri", "", "dataset.uri: got ''"),
        ("layout", "coco", "dataset.layout: got 'coco', expected one of mvtec, btad, loco, folder"),
        ("shots", -1, "dataset.shots: got -1"),
        ("calibration", -1, "dataset.calibration: got -1"),
        ("image_size", 32, "dataset.image_size: got 32, expected 64 to 1024"),
        ("image_size", 100, "dataset.image_size: got 100, expected 64 to 1024 pixels, a multiple of 32"),
        ("test_fraction", 1.0, "dataset.test_fraction: got 1.0"),
        ("seed", -1, "seed: got -1"),
        ("bit_depth", 11, "dataset.bit_depth: got 11, expected one of 0, 8, 10, 12, 14, 16"),
        ("max_megapixels", 2000, "dataset.max_megapixels: got 2000, expected 1 to 1000"),
        ("tiles", "2", "dataset.tiles: got '2', expected ROWSxCOLUMNS such as 2x2, at most 64 tiles"),
        ("tiles", "9x9", "dataset.tiles: got '9x9'"),
        ("crop", "1,2,3", "dataset.crop: got '1,2,3', expected auto, or left,top,right,bottom in pixels"),
        ("crop", "50%,0%,40%,100%", "dataset.crop: got '50%,0%,40%,100%'"),
    ],
)
def test_config_names_the_field_that_is_out_of_range(field: str, value: object, message: str) -> None:
    fields: dict[str, object] = {"uri": "part", field: value}

    with pytest.raises(InputError, match=message):
        Config(**fields)  # type: ignore[arg-type]


def test_shots_chosen_by_coverage_are_recorded(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=6)
    config = _config(root, shots=2).replace(choose="coverage", calibration=2)

    ingest_dataset(tmp_path / "reference", config)

    images, choice = ImageSet(tmp_path / "reference"), read_json(tmp_path / "reference" / CHOICE)
    assert images.ids("train") == choice["shots"]
    assert not {id.removeprefix("train-") for id in choice["shots"]} & {
        id.removeprefix("calibration-") for id in images.ids("calibration")
    }
    assert sorted(choice["oddness"]) == [f"train-good-{index:03d}" for index in range(6)]
    with pytest.raises(InputError, match=r"dataset\.shots: got 7, expected at most 6, the good training images"):
        ingest_dataset(tmp_path / "more", config.replace(shots=7))
