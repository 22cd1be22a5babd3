"""Data sets as people, cameras and tools leave them: what is read, and what is left out and why."""

import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.artifacts import ImageSet
from components.dataset.config import ALL_SHOTS, Config
from components.dataset.ingest import ingest_dataset
from components.errors import InputError
from components.listing.layouts import Listing
from components.listing.opened import dataset_digest, opened
from tests.components.trees import (
    SIDE,
    marked,
    noise,
    save,
    save_series,
    write_btad,
    write_folder,
    write_loco,
    write_mvtec,
)

Write = Callable[[Path], Path]


def _list(root: Path, layout: str = "mvtec") -> Listing:
    with opened(str(root), layout) as dataset:
        return dataset.listing


def _left_out(root: Path, layout: str = "mvtec") -> dict[str, str]:
    return {found.path: found.kind for found in _list(root, layout).left_out}


def _ids(root: Path, layout: str = "mvtec") -> list[str]:
    return [source.id for source in _list(root, layout).sources]


def _ingest(root: Path, layout: str = "mvtec") -> ImageSet:
    config = Config(uri=str(root), layout=layout, shots=ALL_SHOTS, image_size=SIDE)
    ingest_dataset(root.parent / "reference", config)
    return ImageSet(root.parent / "reference")


def _clutter(root: Path) -> None:
    """What file managers, network disks, archives and notebooks leave in each folder."""
    for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._000.png", ".directory"):
            (folder / name).write_bytes(b"left by a tool")
        for name in ("@eaDir", "__MACOSX", ".ipynb_checkpoints", ".cache"):
            save(folder / name / "000.png", noise(999))
        (folder / "empty").mkdir()


@pytest.mark.parametrize(
    ("layout", "write"),
    [("mvtec", write_mvtec), ("loco", write_loco), ("btad", write_btad), ("folder", write_folder)],
)
def test_what_tools_leave_changes_neither_images_nor_digest(tmp_path: Path, layout: str, write: Write) -> None:
    root = write(tmp_path / "part")
    listing, digest = _list(root, layout), dataset_digest(str(root), layout)

    _clutter(root)

    assert _list(root, layout).sources == listing.sources
    assert dataset_digest(str(root), layout) == digest
    assert set(_left_out(root, layout).values()) <= {"empty"}


def test_digest_sees_the_images_behind_links(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    plain = dataset_digest(str(root))
    shutil.move(root / "train" / "good", tmp_path / "elsewhere")
    (root / "train" / "good").symlink_to(tmp_path / "elsewhere")
    assert dataset_digest(str(root)) == plain
    assert len(_ids(root)) == 8

    save(tmp_path / "elsewhere" / "001.png", noise(55))

    assert dataset_digest(str(root)) != plain


def test_digest_sees_no_file_that_is_not_read(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    before = dataset_digest(str(root))

    (root / "license.txt").write_text("terms")
    save(root / "originals" / "000.png", noise(1))
    save(root / "train" / "bad" / "000.png", noise(2))

    assert dataset_digest(str(root)) == before
    assert _left_out(root) == {"license.txt": "folder", "originals/000.png": "folder", "train/bad/000.png": "folder"}


def test_loops_and_broken_links_are_listed(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=2)
    (root / "train" / "good" / "again").symlink_to(root / "train")
    (root / "train" / "good" / "gone.png").symlink_to(tmp_path / "absent.png")
    (root / "train" / "good" / "self.png").symlink_to(root / "train" / "good" / "self.png")

    assert _left_out(root) == {f"train/good/{name}": "link" for name in ("again", "gone.png", "self.png")}
    assert [name for name in _ids(root) if name.startswith("train")] == ["train-good-000", "train-good-001"]


def test_names_of_any_encoding_are_read(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=1)
    content = (root / "train" / "good" / "000.png").read_bytes()
    for name in (b"pr\xfcfung.png", "prüfung.png".encode(), b"Teil\n1.png"):
        Path(os.fsdecode(os.fsencode(root / "train" / "good") + b"/" + name)).write_bytes(content + name)

    images = _ingest(root)

    ids = images.ids("train")
    assert sorted(id[:19] for id in ids) == ["train-good-000", "train-good-Teil?1", *["train-good-prüfung-"] * 2]
    assert len(set(ids)) == 4
    assert sorted(images.manifest["source"][:4]).count("train/good/prüfung.png") == 2
    assert len(dataset_digest(str(root))) == 64


def test_digest_does_not_depend_on_the_order_of_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_mvtec(tmp_path / "part")
    before, scandir = dataset_digest(str(root)), os.scandir

    def reverse(path: str) -> list[os.DirEntry[str]]:
        return sorted(scandir(path), key=lambda entry: entry.name, reverse=True)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", reverse)
        assert dataset_digest(str(root)) == before


def test_endings_are_read_or_listed(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=1)
    good = root / "train" / "good"
    grey = np.full((SIDE, SIDE, 3), 120, dtype=np.uint8)
    Image.fromarray(grey).save(good / "web.jfif", "JPEG")
    Image.fromarray(grey).save(good / "CAMERA.JPG", "JPEG")
    for name in ("phone.heic", "none", "table.csv", ".hidden.png"):
        (good / name).write_bytes(b"other")

    images = _ingest(root)

    assert sorted(images.ids("train")) == [f"train-good-{name}" for name in ("000", "CAMERA", "web")]
    assert np.abs(images.image("train-good-web").astype(int) - 120).max() <= 2
    rows = {row["path"]: (row["kind"], row["reason"]) for row in images.left_out.to_dict("records")}
    assert list(rows) == [f"train/good/{name}" for name in (".hidden.png", "none", "phone.heic", "table.csv")]
    expected = ("ending", "images of the ending .heic are not read, convert them to PNG or JPEG")
    assert rows["train/good/phone.heic"] == expected
    assert rows["train/good/none"][1].startswith("no image: the ending is missing, expected .bmp")
    assert rows["train/good/.hidden.png"] == ("hidden", "a hidden file")


def test_left_out_files_are_logged_by_their_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = write_mvtec(tmp_path / "part", train=1)
    for index in range(7):
        (root / "train" / "good" / f"{index}.heic").write_bytes(b"x")

    dataset_digest(str(root))

    (message,) = caplog.messages
    assert message.startswith("left out 7 (images of the ending .heic are not read, convert them to PNG or JPEG)")
    assert message.endswith("train/good/4.heic and 2 more")


def test_images_in_sub_folders_are_read_with_their_masks(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=1)
    for day in ("day1", "day2"):
        save(root / "train" / "good" / day / "000.png", noise(5))
        save(root / "test" / "bent" / day / "000.png", noise(6))
        save(root / "ground_truth" / "bent" / day / "000_mask.png", marked())
    save(root / "test" / "bent" / "day3" / "single.png", noise(7))
    save(root / "ground_truth" / "bent" / "single_mask.png", marked(row=40))

    images = _ingest(root)

    assert sorted(images.ids("train")) == ["train-good-000", "train-good-day1-000", "train-good-day2-000"]
    assert images.ids("test", "bad") == [
        f"test-bent-{name}" for name in ("000", "001", "day1-000", "day2-000", "day3-single")
    ]
    mask = images.mask("test-bent-day3-single")
    np.testing.assert_array_equal(mask, marked(row=40) > 0)
    assert images.left_out.empty


@pytest.mark.parametrize(
    ("layout", "write", "name"),
    [
        *(
            ("mvtec", write_mvtec, name)
            for name in ("Ground_Truth", "ground-truth", "groundtruth", "mask", "ground_trut")
        ),
        *(("folder", write_folder, name) for name in ("Masks", "mask", "ground_truth")),
    ],
)
def test_mask_folder_is_read_as_it_was_meant(tmp_path: Path, layout: str, write: Write, name: str) -> None:
    root = write(tmp_path / "part")
    wanted = "masks" if layout == "folder" else "ground_truth"
    (root / wanted).rename(root / name)

    listing = _list(root, layout)

    masks = [mask for source in listing.sources for mask in source.masks]
    suffix = "" if layout == "folder" else "_mask"
    assert masks == [f"{name}/bent/00{index}{suffix}.png" for index in range(2)]
    assert listing.notes == (f"the folder {name} is read as {wanted}",)
    assert listing.left_out == ()


def test_folders_of_another_case_are_read(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    expected = _ids(root)
    for path in ("train/good", "train", "test/good", "test", "ground_truth/bent"):
        (root / path).rename((root / path).with_name(Path(path).name.title()))

    assert _ids(root) == expected
    assert [len(source.masks) for source in _list(root).sources if source.defect] == [1, 1]


def test_what_has_no_place_in_the_layout_is_listed(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    save(root / "test" / "loose.png", noise(1))
    save(root / "train" / "loose.png", noise(1))
    save(root / "ground_truth" / "absent" / "000_mask.png", marked())
    save(root / "ground_truth" / "loose_mask.png", marked())
    save(root / "test" / "Good" / "000.png", noise(2))
    save(root / "masks" / "bent" / "000.png", marked())
    (root / "test" / "stained").mkdir()

    assert _left_out(root) == {
        "test/loose.png": "folder",
        "train/loose.png": "folder",
        "ground_truth/absent/000_mask.png": "mask",
        "ground_truth/loose_mask.png": "mask",
        "test/Good/000.png": "folder",
        "masks/bent/000.png": "mask",
        "test/stained/": "empty",
    }


def test_black_masks_of_good_images_are_skipped_and_others_named(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    for index in range(2):
        save(root / "ground_truth" / "good" / f"{index:03d}_mask.png", marked(rows=0))
    before = dataset_digest(str(root))
    images = _ingest(root)
    assert [images.mask(id) for id in images.ids("test", "good")] == [None, None]
    assert images.left_out.empty

    save(root / "ground_truth" / "good" / "001_mask.png", marked())

    assert dataset_digest(str(root)) != before
    with pytest.raises(InputError, match=r"mask .*good/001_mask.png: marks pixels of a good image, expected none"):
        _ingest(root)


def test_masks_whose_names_differ_in_their_unicode_form_are_found(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    save(root / "test" / "bent" / unicodedata.normalize("NFD", "tür.png"), noise(8))
    save(root / "ground_truth" / "bent" / unicodedata.normalize("NFC", "tür_mask.png"), marked(row=30))

    mask = _ingest(root).mask("test-bent-" + unicodedata.normalize("NFC", "tür"))

    np.testing.assert_array_equal(mask, marked(row=30) > 0)


def test_masks_of_the_layout_folder_may_end_with_mask(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "part")
    (root / "masks" / "bent" / "000.png").rename(root / "masks" / "bent" / "000_mask.png")

    masks = [source.masks for source in _list(root, "folder").sources if source.defect == "bent"]

    assert masks == [("masks/bent/000_mask.png",), ("masks/bent/001.png",)]


def test_masks_in_no_folder_are_those_of_the_only_defect(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    for index in range(2):
        name = f"{index:03d}_mask.png"
        (root / "ground_truth" / "bent" / name).rename(root / "ground_truth" / name)
    (root / "ground_truth" / "bent").rmdir()

    assert [source.masks for source in _list(root).sources if source.defect] == [
        ("ground_truth/000_mask.png",),
        ("ground_truth/001_mask.png",),
    ]


def test_ids_are_unique_where_folders_and_names_meet(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=1)
    save(root / "test" / "defective" / "a-b.png", noise(1))
    save(root / "test" / "defective-a" / "b.png", noise(2))
    save(root / "test" / "defective" / "a" / "b.png", noise(3))

    images = _ingest(root)

    found = {id: images.image(id) for id in images.ids("test", "bad") if "defective" in id}
    assert len(found) == 3
    assert all(id.startswith("test-defective-a-b-") for id in found)
    by_source = images.manifest.set_index("source")["id"]
    np.testing.assert_array_equal(images.image(by_source["test/defective-a/b.png"]), noise(2))
    assert _ids(root) == [str(id) for id in images.manifest["id"]]


def test_plain_folder_is_read_at_any_depth(tmp_path: Path) -> None:
    save_series(tmp_path / "pool", 2, 0)
    save_series(tmp_path / "pool" / "day2", 1, 5)
    (tmp_path / "pool" / "notes.txt").write_text("x")

    listing = _list(tmp_path / "pool", "plain")

    assert listing.names == ["000.png", "001.png", "day2/000.png"]
    assert [source.id for source in listing.sources] == ["train-good-000", "train-good-001", "train-good-day2-000"]
    assert [found.path for found in listing.left_out] == ["notes.txt"]
