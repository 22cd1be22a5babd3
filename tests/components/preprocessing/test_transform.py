"""What a detector sees of an image is where it was, unstretched and uncovered as asked; tiles go together again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from components.errors import InputError
from components.preprocessing.transform import PADDING, Preprocessing, kept_preprocessing, require_same_geometry
from tests.components.trees import SIDE, noise, save

UNTOUCHED = Preprocessing.untouched(SIDE)
WIDE = replace(UNTOUCHED, content=(SIDE, SIDE // 2), keep_aspect=True)
TILED = replace(UNTOUCHED, content=(176, 120), tiles=(2, 3))


def test_padding_lies_beside_an_image_that_keeps_its_proportions(tmp_path: Path) -> None:
    read = WIDE.read(save(tmp_path / "image.png", noise(0, 32, SIDE)), "image")

    np.testing.assert_array_equal(read.pixels[16:48], noise(0, 32, SIDE))
    assert (read.pixels[:16] == PADDING).all()
    assert (read.pixels[48:] == PADDING).all()
    assert (WIDE.padded, UNTOUCHED.padded, TILED.padded) == (True, False, False)


@pytest.mark.parametrize(("height", "fits"), [(100, True), (101, True), (110, False), (90, False)])
def test_other_proportions_than_those_of_the_data_set_are_refused(height: int, fits: bool) -> None:
    if fits:
        assert WIDE.place(noise(0, height, 200), "image").shape == (SIDE, SIDE, 3)
        return
    with pytest.raises(InputError, match=rf"image: size is 200x{height}, expected the proportions of 64x32"):
        WIDE.place(noise(0, height, 200), "image")


def test_images_are_stretched_unless_they_keep_their_proportions() -> None:
    assert UNTOUCHED.place(noise(0, 100, 200), "image").shape == (SIDE, SIDE, 3)


def test_crop_is_taken_before_the_size_changes() -> None:
    cropped = replace(UNTOUCHED, crop="10,20,74,84")

    np.testing.assert_array_equal(cropped.place(noise(0, 100, 100), "image"), noise(0, 100, 100)[20:84, 10:74])


def test_mask_goes_where_its_image_goes() -> None:
    preprocessing = replace(WIDE, crop="8,0,72,32")
    mask = np.zeros((40, 80), dtype=bool)
    mask[4:10, 20:30] = True

    placed = preprocessing.place_mask(mask, "image")

    rows, columns = np.nonzero(placed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16 + 4, 16 + 9, 12, 21)
    assert placed.sum() == 60


def test_mask_outside_of_the_crop_marks_nothing() -> None:
    mask = np.zeros((40, 80), dtype=bool)
    mask[4:10, :4] = True

    assert not replace(UNTOUCHED, crop="8,0,72,32").place_mask(mask, "image").any()


def test_tiles_overlap_and_go_together_again() -> None:
    images = torch.rand(2, 3, 120, 176)

    tiles = TILED.cut(images)

    assert tiles.shape == (12, 3, SIDE, SIDE)
    torch.testing.assert_close(tiles[1], images[0, :, :64, 56:120])
    torch.testing.assert_close(tiles[6 + 5], images[1, :, 56:, 112:])
    torch.testing.assert_close(TILED.stitch(tiles), images)


def test_maps_are_averaged_where_tiles_meet() -> None:
    maps = torch.zeros(6, 1, SIDE, SIDE)
    maps[0] = 1

    whole = TILED.stitch(maps)[0, 0]

    assert whole[0, 0] == 1
    assert whole[0, 60] == 0.5
    assert whole[60, 60] == 0.25
    assert whole[0, 64] == 0


@pytest.mark.parametrize("crop", ["", "10,20,138,84", "25%,50%,75%,100%"])
def test_example_for_clients_is_read_as_the_image_it_was_made_of(crop: str) -> None:
    preprocessing = replace(WIDE, crop=crop)
    pixels = preprocessing.place(np.full((128, 256, 3), 90, dtype=np.uint8), "image")

    np.testing.assert_array_equal(preprocessing.place(preprocessing.unplace(pixels), "example"), pixels)


def test_settings_are_kept_as_json() -> None:
    preprocessing = replace(TILED, crop="1,2,3,4", bit_depth=12, max_megapixels=200)

    assert kept_preprocessing({"image_size": 32, "preprocessing": preprocessing.to_content()}) == preprocessing
    assert kept_preprocessing({"image_size": 32}) == Preprocessing.untouched(32)


def test_other_geometry_is_named() -> None:
    require_same_geometry(UNTOUCHED, replace(UNTOUCHED, image_size=128, content=(128, 128)))
    with pytest.raises(InputError, match=r"detector: dataset.crop is '1,2,3,4', expected '' as in the data set"):
        require_same_geometry(replace(UNTOUCHED, crop="1,2,3,4"), UNTOUCHED)
    require_same_geometry(WIDE, replace(WIDE, image_size=128, content=(128, 64)))
    for other in (replace(WIDE, content=(64, 40)), replace(WIDE, content=(120, 64), tiles=(1, 2))):
        with pytest.raises(InputError, match="expected the proportions of"):
            require_same_geometry(WIDE, other)
