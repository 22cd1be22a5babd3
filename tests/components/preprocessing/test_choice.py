"""The files of a data set decide on bit depth, crop and proportions, and what is odd about them is said."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.dataset.config import Config
from components.errors import InputError
from components.preprocessing.choice import Notices, choose
from components.preprocessing.transform import Preprocessing
from tests.components.trees import SIDE, noise, save


def config(**fields: Any) -> Config:
    return Config(uri="part", image_size=SIDE, **fields)


def _chosen(settings: Config, files: list[Path], given: list[Path]) -> Preprocessing:
    return choose(settings, {str(path): path for path in files}, [str(path) for path in given])


def deep(path: Path, largest: int) -> Path:
    values = np.arange(100, dtype=np.uint16).reshape(10, 10)
    values[0, 0] = largest
    return save(path, values)


@pytest.mark.parametrize(
    ("largest", "depth"),
    [(255, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (16383, 14), (16384, 16), (65535, 16)],
)
def test_bit_depth_is_the_smallest_that_holds_the_largest_value(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, largest: int, depth: int
) -> None:
    files = [deep(tmp_path / "0.png", 99), deep(tmp_path / "1.png", largest), save(tmp_path / "2.png", noise(0))]
    with caplog.at_level(logging.INFO, "components.preprocessing"):
        found = _chosen(config(), files, files[:1])

    assert found.bit_depth == depth
    assert f"2 files of 16 bits, of which {depth} are used: the highest value is {largest}" in caplog.text


def test_files_of_eight_bits_are_only_resized(tmp_path: Path) -> None:
    files = [save(tmp_path / "image.png", noise(0, 30, 40))]

    assert _chosen(config(), files, files) == Preprocessing.untouched(SIDE)
    assert Preprocessing.untouched(SIDE).stated() == {}


def test_bit_depth_can_be_forced_but_not_below_the_values(tmp_path: Path) -> None:
    files = [deep(tmp_path / "image.png", 900)]

    assert _chosen(config(bit_depth=12), files, files).stated() == {"bit_depth": 12}
    with pytest.raises(InputError, match=r"dataset.bit_depth: got 8, expected 10 or more: .*image.png has 900"):
        _chosen(config(bit_depth=8), files, files)


@pytest.mark.parametrize(
    ("fields", "content", "size"),
    [
        ({}, (64, 64), (64, 64)),
        ({"keep_aspect": True}, (64, 32), (64, 64)),
        ({"keep_aspect": True, "crop": "0,0,30,60"}, (32, 64), (64, 64)),
        ({"tiles": "2x2"}, (120, 120), (120, 120)),
        ({"tiles": "1x3"}, (176, 64), (176, 64)),
        ({"tiles": "2x3", "keep_aspect": True}, (176, 88), (176, 88)),
    ],
)
def test_content_follows_tiles_and_proportions(
    tmp_path: Path, fields: dict[str, Any], content: tuple[int, int], size: tuple[int, int]
) -> None:
    files = [save(tmp_path / "image.png", noise(0, 60, 120))]

    found = _chosen(config(**fields), files, files)

    assert (found.content, found.size) == (content, size)


def test_tiles_that_the_proportions_cannot_fill_are_refused(tmp_path: Path) -> None:
    files = [save(tmp_path / "image.png", noise(0, 60, 240))]

    with pytest.raises(InputError, match=r"dataset.tiles: got '2x2', expected as many rows and columns as .* 240x60"):
        _chosen(config(tiles="2x2", keep_aspect=True), files, files)


def part(path: Path, left: int, top: int) -> Path:
    """A bright part of 60 by 40 pixels on a dark, slightly noisy ground of 200 by 100."""
    image = np.random.default_rng(left).integers(20, 30, (100, 200, 3), dtype=np.uint8)
    image[top : top + 40, left : left + 60] = 180
    return save(path, image)


def test_automatic_crop_holds_the_parts_of_all_given_images(tmp_path: Path) -> None:
    given = [part(tmp_path / "0.png", 60, 30), part(tmp_path / "1.png", 70, 33)]
    other = part(tmp_path / "2.png", 0, 0)

    found = _chosen(config(crop="auto"), [*given, other], given)

    assert found.crop == "25%,25%,70%,80%"


@pytest.mark.parametrize("image", [noise(0, 200, 200), np.full((50, 50, 3), 80, dtype=np.uint8)])
def test_nothing_is_cropped_where_there_is_no_foreground_or_it_is_everywhere(
    tmp_path: Path, image: np.ndarray[Any, Any]
) -> None:
    files = [save(tmp_path / "image.png", image)]

    assert _chosen(config(crop="auto"), files, files).crop == ""


def test_odd_files_are_counted_and_named_in_one_line_each(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notices, preprocessing = Notices(), Preprocessing.untouched(SIDE)
    for index in range(3):
        image = noise(index) if index == 0 else np.full((8, 8, 3), 60 + index, dtype=np.uint8)
        path = save(tmp_path / f"{index}.png", image)
        notices.add(preprocessing.read(path, path.name).notes, path.name)

    assert notices.report() == {"narrow_images": 2}
    (record,) = caplog.records
    assert "2 images with values that span less than a tenth of the range" in record.getMessage()
    assert record.getMessage().endswith("the first is 1.png")
