"""Each layout finds its images, splits, defects and masks."""

import shutil
from pathlib import Path

import pytest

from components.artifacts import file_sha256
from components.errors import InputError
from components.listing.layouts import Listing, SourceImage
from components.listing.opened import opened
from tests.components.trees import marked, noise, save, save_series, write_btad, write_folder, write_loco, write_mvtec


def _list(root: Path, layout: str) -> Listing:
    with opened(str(root), layout) as dataset:
        return dataset.listing


def _find(root: Path, layout: str, test_fraction: float = 0.2) -> list[SourceImage]:
    with opened(str(root), layout) as dataset:
        return list(dataset.sources(test_fraction))


def _masks_by_id(sources: list[SourceImage]) -> dict[str, list[str]]:
    return {source.id: list(source.masks) for source in sources}


def _held_out(sources: list[SourceImage]) -> list[str]:
    return [source.name for source in sources if source.split == "test" and not source.defect]


def test_mvtec(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=2)

    assert _masks_by_id(_find(root, "mvtec")) == {
        "train-good-000": [],
        "train-good-001": [],
        "test-bent-000": ["ground_truth/bent/000_mask.png"],
        "test-bent-001": ["ground_truth/bent/001_mask.png"],
        "test-good-000": [],
        "test-good-001": [],
    }


def test_btad_calls_good_images_ok_and_reads_bmp(tmp_path: Path) -> None:
    root = write_btad(tmp_path / "01")

    sources = _find(root, "btad")

    assert _masks_by_id(sources) == {
        "train-good-000": [],
        "train-good-001": [],
        "train-good-002": [],
        "test-ko-000": ["ground_truth/ko/000.png"],
        "test-ko-001": ["ground_truth/ko/001.png"],
        "test-good-000": [],
        "test-good-001": [],
    }
    assert {source.name[-4:] for source in sources} == {".bmp"}


def test_loco_has_a_validation_split_and_several_masks_an_image(tmp_path: Path) -> None:
    root = write_loco(tmp_path / "breakfast_box")

    found = _masks_by_id(_find(root, "loco"))

    assert [name for name in found if name.startswith("validation")] == ["validation-good-000", "validation-good-001"]
    assert found["test-logical_anomalies-000"] == [
        "ground_truth/logical_anomalies/000/000.png",
        "ground_truth/logical_anomalies/000/001.png",
    ]


def test_content_decides_which_good_images_are_held_out_and_others_move_none(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "part", good=10)
    digests = {f"good/{path.name}": int(file_sha256(path), 16) / 16**64 for path in (root / "good").iterdir()}
    expected = sorted(name for name, share in digests.items() if share < 0.5)
    assert 0 < len(expected) < 10

    assert sorted(_held_out(_find(root, "folder", 0.5))) == expected

    save(root / "good" / "new.png", noise(77))
    assert set(_held_out(_find(root, "folder", 0.5))) - {"good/new.png"} == set(expected)


@pytest.mark.parametrize(("good", "held_out"), [(1, 0), (2, 1), (3, 1)])
def test_of_two_images_one_is_held_out(tmp_path: Path, good: int, held_out: int) -> None:
    root = write_folder(tmp_path / "part", good=good)

    assert len(_held_out(_find(root, "folder", test_fraction=1e-9))) == held_out
    assert len(_held_out(_find(root, "folder", test_fraction=1 - 1e-9))) == good - 1


@pytest.mark.parametrize("removed", ["test", "test/good", "test/bent"])
def test_layouts_need_no_test_images(tmp_path: Path, removed: str) -> None:
    root = write_mvtec(tmp_path / "part", train=6)
    shutil.rmtree(root / removed)

    sources = _find(root, "mvtec", 0.3)

    held_out, bad = _held_out(sources), [source for source in sources if source.defect]
    assert len(bad) == (2 if removed == "test/good" else 0)
    if removed == "test/bent":
        assert held_out == ["test/good/000.png", "test/good/001.png"]
    else:
        assert 1 <= len(held_out) <= 3
        assert {name.rpartition("/")[0] for name in held_out} == {"train/good"}
    assert len(sources) == 6 + len(bad) + (2 if removed == "test/bent" else 0)


def test_folder_finds_masks_of_each_defect(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "part")

    found = _masks_by_id(_find(root, "folder"))

    assert found["test-bent-001"] == ["masks/bent/001.png"]
    assert found["test-stained-000"] == []
    assert not any("masks" in name for name in found)


def test_suffixes_are_read_in_any_case_and_other_files_left_aside(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=1)
    save(root / "train" / "good" / "UPPER.PNG", noise(9))
    (root / "train" / "good" / "notes.txt").write_text("not an image")

    train = [source.name for source in _find(root, "mvtec") if source.split == "train"]

    assert train == ["train/good/000.png", "train/good/UPPER.PNG"]


def test_defect_without_any_mask_is_accepted(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    save_series(root / "test" / "stained", 2, 300)

    assert _masks_by_id(_find(root, "mvtec"))["test-stained-000"] == []


def test_missing_good_training_images_are_named(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    shutil.rmtree(root / "train")

    with pytest.raises(InputError, match=r"dataset: .*part/train/good is not a folder"):
        _find(root, "mvtec")


def test_mask_folder_without_masks_is_named(tmp_path: Path) -> None:
    root = write_loco(tmp_path / "part")
    for mask in (root / "ground_truth" / "logical_anomalies" / "000").iterdir():
        mask.unlink()

    with pytest.raises(InputError, match=r"no images in .*logical_anomalies/000"):
        _find(root, "loco")


def test_mask_folder_without_its_image_is_named(tmp_path: Path) -> None:
    root = write_loco(tmp_path / "part")
    save(root / "ground_truth" / "logical_anomalies" / "007" / "000.png", marked())

    with pytest.raises(InputError, match=r"mask .*007/000.png: no image 007 in .*test/logical_anomalies"):
        _find(root, "loco")
