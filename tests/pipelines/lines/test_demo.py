"""Tests of the line that needs no data."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from skimage import data
from skimage.morphology import dilation, disk

from components.listing.opened import dataset_digest
from pipelines.lines.demo import DEFECTS, TEST_BAD, TEST_GOOD, TILE, TRAIN_ROWS, TRAIN_TILES, write_demo_line
from pipelines.lines.line import load_line

SOFT_EDGE = 5


@pytest.fixture(scope="module")
def line_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_line(tmp_path_factory.mktemp("demo") / "data")


def pixels(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        return np.asarray(image)


def first_row(tile: npt.NDArray[np.uint8], photograph: npt.NDArray[np.uint8]) -> int:
    """The photograph's row at which a tile was cut out."""
    windows = np.lib.stride_tricks.sliding_window_view(photograph, tile.shape)
    for row, column in np.argwhere((windows[..., 0, :] == tile[0]).all(axis=-1)):
        if np.array_equal(windows[row, column], tile):
            return int(row)
    raise AssertionError("the tile is no part of the photograph")


def test_line_file_loads(line_file: Path) -> None:
    line = load_line(line_file)
    assert line.name == "demo-brick"
    assert line.configs["dataset"].uri == str(line_file.parent / "brick")
    assert line.configs["dataset"].image_size == TILE


def test_data_set_is_the_same_every_time(line_file: Path, tmp_path: Path) -> None:
    again = write_demo_line(tmp_path / "data")
    assert again.read_bytes() == line_file.read_bytes()
    assert dataset_digest(str(again.parent / "brick")) == dataset_digest(str(line_file.parent / "brick"))


def test_earlier_data_set_is_replaced(tmp_path: Path) -> None:
    stale = tmp_path / "data" / "brick" / "train" / "good" / "stale.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"")
    write_demo_line(tmp_path / "data")
    assert not stale.exists()


def test_train_and_test_tiles_share_no_row(line_file: Path) -> None:
    root, photograph = line_file.parent / "brick", data.brick()
    train = [first_row(pixels(path), photograph) for path in sorted((root / "train" / "good").iterdir())]
    test = [first_row(pixels(path), photograph) for path in sorted((root / "test" / "good").iterdir())]
    assert (len(train), len(test)) == (TRAIN_TILES, TEST_GOOD)
    assert max(train) + TILE <= TRAIN_ROWS <= min(test)


@pytest.mark.parametrize("defect", DEFECTS)
def test_every_bad_image_has_a_mask(line_file: Path, defect: str) -> None:
    root = line_file.parent / "brick"
    images = sorted(path.stem for path in (root / "test" / defect).iterdir())
    masks = sorted((root / "ground_truth" / defect).iterdir())
    assert [path.stem for path in masks] == [f"{stem}_mask" for stem in images]
    assert len(masks) == TEST_BAD
    for path in masks:
        mask = pixels(path)
        assert set(np.unique(mask)) == {0, 255}
        assert mask.shape == (TILE, TILE)


@pytest.mark.parametrize("defect", DEFECTS)
@pytest.mark.parametrize("seed", range(5))
def test_mask_marks_what_was_drawn(defect: str, seed: int) -> None:
    tile = np.full((TILE, TILE), 0.5)
    drawn, mask = DEFECTS[defect](tile.copy(), np.random.default_rng(seed))
    changed = np.abs(drawn - tile) > 1e-6
    assert not (changed & ~dilation(mask, disk(SOFT_EDGE))).any()
    assert changed[mask].mean() >= 0.5
