"""What pretraining reads: folders of good images alone, and of lines' data sets their good training images alone."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from components.errors import InputError
from components.listing.opened import opened
from components.pretraining.config import Config as PretrainingConfig
from components.pretraining.sources import images_digest, read_sources
from components.storage import s3
from tests.components.trees import SIDE, noise, save_series, write_btad, write_folder, write_loco, write_mvtec

TREES = {"mvtec": write_mvtec, "btad": write_btad, "loco": write_loco, "folder": write_folder}


def config(*sources: str, **dataset: str) -> PretrainingConfig:
    whole = {"layout": "mvtec", "test_fraction": "0.3", "seed": "7"} | dataset
    return PretrainingConfig(sources=sources, datasets=(whole,) if dataset else (), sizes=(32,), image_side=SIDE)


@pytest.mark.parametrize(("layout", "write"), TREES.items())
def test_data_set_gives_the_good_training_images_of_its_layout(
    tmp_path: Path, layout: str, write: Callable[[Path], Path]
) -> None:
    root = write(tmp_path / "part")
    with opened(str(root), layout) as dataset:
        expected = [root / found.name for found in dataset.sources(0.3) if found.split == "train"]
    images, digest, _ = read_sources(config(uri=str(root), layout=layout))
    assert digest == images_digest(expected)
    assert len(images) == len(expected)


@pytest.mark.s3
@pytest.mark.parametrize("layout", ["mvtec", "folder"])
def test_data_set_in_an_object_store_is_read_as_a_local_one(tmp_path: Path, prefix: str, layout: str) -> None:
    root = TREES[layout](tmp_path / "part")
    s3.publish_directory(root, prefix)
    local, stored = (read_sources(config(uri=uri, layout=layout)) for uri in (str(root), prefix))
    assert stored[1] == local[1]


def test_folders_and_data_sets_are_read_together(tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part", train=2)
    save_series(tmp_path / "more", 3, 500)
    images, *_ = read_sources(config(str(tmp_path / "more"), uri=str(root)))
    assert len(images) == 5


@pytest.mark.parametrize(
    ("layout", "part"), [("mvtec", "ground_truth/"), ("btad", "ground_truth/"), ("folder", "good/")]
)
@pytest.mark.parametrize("above", [False, True])
def test_class_folder_is_refused(tmp_path: Path, layout: str, part: str, above: bool) -> None:
    root = TREES[layout](tmp_path / "lines" / "part")
    given, named = (root.parent, f"part/{part}") if above else (root, part)
    expected = rf"pretraining\.sources: got '{given}', expected good images alone, .* but {named} is part .*--lines DIR"
    with pytest.raises(InputError, match=expected):
        read_sources(config(str(given)))


def test_class_folder_without_masks_is_refused_by_its_test_images(tmp_path: Path) -> None:
    save_series(tmp_path / "part" / "train" / "good", 2, 0)
    save_series(tmp_path / "part" / "test" / "bent", 1, 100)
    with pytest.raises(InputError, match="but part/test/ is part of a data set with a test split"):
        read_sources(config(str(tmp_path)))


@pytest.mark.s3
def test_class_folder_in_an_object_store_is_refused(tmp_path: Path, prefix: str) -> None:
    s3.publish_directory(write_mvtec(tmp_path / "part"), f"{prefix}/part")
    with pytest.raises(InputError, match=rf"pretraining\.sources: got '{prefix}', .* part/ground_truth/ is part"):
        read_sources(config(prefix))


def test_good_folders_of_several_classes_are_taken(tmp_path: Path) -> None:
    for index, name in enumerate(("bolts", "nuts")):
        save_series(tmp_path / name / "train" / "good", 2, index * 10)
    assert len(read_sources(config(str(tmp_path)))[0]) == 4


def test_data_set_without_good_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "train" / "good").mkdir(parents=True)
    (tmp_path / "train" / "good" / "notes.txt").write_text("none yet")
    expected = r"pretraining\.datasets: no images in .*/train/good, expected .*; the other files end with \.txt"
    with pytest.raises(InputError, match=expected):
        read_sources(config(uri=str(tmp_path)))


def test_damaged_image_is_named(tmp_path: Path) -> None:
    Image.fromarray(noise(0)).save(tmp_path / "0.png")
    (tmp_path / "1.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"image .*1\.png"):
        read_sources(config(str(tmp_path)))
