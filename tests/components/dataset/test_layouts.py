"""Each layout finds its images, splits, defects and masks."""

from pathlib import Path

import numpy as np
import pytest

from components.dataset.config import Config
from components.dataset.layouts import SourceImage, find_images
from components.errors import InputError
from tests.components.trees import marked, noise, save, save_series, write_btad, write_folder, write_loco, write_mvtec


def _find(root: Path, layout: str, seed: int = 0, test_fraction: float = 0.2) -> list[SourceImage]:
    return find_images(root, Config(uri=str(root), layout=layout, seed=seed, test_fraction=test_fraction))


def _masks_by_id(sources: list[SourceImage], root: Path) -> dict[str, list[str]]:
    return {source.id: [mask.relative_to(root).as_posix() for mask in source.masks] for source in sources}


def _held_out(sources: list[SourceImage]) -> list[str]:
    return [source.path.name for source in sources if source.split == "test" and not source.defect]


def test_mvtec(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=2)

    assert _masks_by_id(_find(root, "mvtec"), root) == {
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

    assert _masks_by_id(sources, root) == {
        "train-good-000": [],
        "train-good-001": [],
        "train-good-002": [],
        "test-ko-000": ["ground_truth/ko/000.png"],
        "test-ko-001": ["ground_truth/ko/001.png"],
        "test-good-000": [],
        "test-good-001": [],
    }
    assert {source.path.suffix for source in sources} == {".bmp"}


def test_loco_has_a_validation_split_and_several_masks_an_image(tmp_path: Path) -> None:
    root = write_loco(tmp_path / "breakfast_box")

    found = _masks_by_id(_find(root, "loco"), root)

    assert [name for name in found if name.startswith("validation")] == ["validation-good-000", "validation-good-001"]
    assert found["test-logical_anomalies-000"] == [
        "ground_truth/logical_anomalies/000/000.png",
        "ground_truth/logical_anomalies/000/001.png",
    ]


@pytest.mark.parametrize("seed", [0, 7])
def test_folder_holds_out_the_share_that_the_seed_draws(tmp_path: Path, seed: int) -> None:
    root = write_folder(tmp_path / "part", good=10)

    held_out = _held_out(_find(root, "folder", seed, test_fraction=0.3))

    drawn = np.random.default_rng(seed).permutation(10)[:3]
    assert held_out == [f"{index:03d}.png" for index in sorted(drawn)]


def test_folder_holds_out_one_image_at_least(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "part", good=3)

    assert len(_held_out(_find(root, "folder", test_fraction=0.01))) == 1


def test_folder_finds_masks_of_each_defect(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "part")

    found = _masks_by_id(_find(root, "folder"), root)

    assert found["test-bent-001"] == ["masks/bent/001.png"]
    assert found["test-stained-000"] == []
    assert not any("masks" in name for name in found)


def test_suffixes_are_read_in_any_case_and_other_files_left_aside(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=1)
    save(root / "train" / "good" / "UPPER.PNG", noise(9))
    (root / "train" / "good" / "notes.txt").write_text("not an image")

    train = [source.path.name for source in _find(root, "mvtec") if source.split == "train"]

    assert train == ["000.png", "UPPER.PNG"]


def test_defect_without_any_mask_is_accepted(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    save_series(root / "test" / "stained", 2, 300)

    assert _masks_by_id(_find(root, "mvtec"), root)["test-stained-000"] == []


@pytest.mark.parametrize(
    ("removed", "message"),
    [
        ("train", r"dataset: .*train/good is not a folder"),
        ("test", r"dataset: .*test is not a folder"),
        ("test/good", r"dataset: no good test images below .*part"),
        ("test/bent", r"dataset: no bad test images below .*part"),
    ],
)
def test_missing_kind_of_image_is_named(tmp_path: Path, removed: str, message: str) -> None:
    import shutil

    root = write_mvtec(tmp_path / "part")
    shutil.rmtree(root / removed)

    with pytest.raises(InputError, match=message):
        _find(root, "mvtec")


def test_single_good_image_leaves_none_to_train_on(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "part", good=1)

    with pytest.raises(InputError, match="no good training images"):
        _find(root, "folder")


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
