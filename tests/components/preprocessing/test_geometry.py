"""Boxes and tiles lie where the settings say."""

import pytest

from components.errors import InputError
from components.preprocessing.geometry import Box, crop_box, fitted, tile_grid, tile_starts, tiled_side


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ("", Box(0, 0, 200, 100)),
        ("10,20,110,90", Box(10, 20, 110, 90)),
        ("10%, 20%, 55.5%, 90%", Box(20, 20, 111, 90)),
        ("0%,0%,100%,100%", Box(0, 0, 200, 100)),
    ],
)
def test_crop_is_in_pixels_or_in_percent_of_the_sides(text: str, box: Box) -> None:
    assert crop_box(text, (200, 100), "image") == box


@pytest.mark.parametrize(
    "text", ["auto", "1,2,3", "1,2,3,4,5", "5,0,5,9", "0%,0,9,9", "0%,0%,101%,9%", "0,0,1.5,9", "a,b,c,d"]
)
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"dataset\.crop: got "):
        crop_box(text, (200, 100), "image")


def test_image_that_does_not_hold_the_box_is_named() -> None:
    with pytest.raises(
        InputError, match=r"image a.png: size is 200x100, expected one that holds dataset.crop 0,0,201,9"
    ):
        crop_box("0,0,201,9", (200, 100), "image a.png")


@pytest.mark.parametrize(("text", "grid"), [("1x1", (1, 1)), ("2x3", (2, 3)), ("1x64", (1, 64))])
def test_tiles_are_rows_by_columns(text: str, grid: tuple[int, int]) -> None:
    assert tile_grid(text) == grid


@pytest.mark.parametrize("text", ["", "2", "0x1", "2X2", "2x2x2", "-1x2", "8x9"])
def test_what_is_no_grid_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"dataset\.tiles: got "):
        tile_grid(text)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_tiles_cover_a_side_and_share_an_eighth_with_their_neighbours(count: int) -> None:
    length = tiled_side(64, count)
    starts = tile_starts(length, 64, count)
    assert starts == [index * 56 for index in range(count)]
    assert starts[-1] + 64 == length


@pytest.mark.parametrize(
    ("size", "found"), [((200, 100), (64, 32)), ((100, 200), (32, 64)), ((10, 10), (64, 64)), ((6400, 10), (64, 1))]
)
def test_size_within_bounds_keeps_its_proportions(size: tuple[int, int], found: tuple[int, int]) -> None:
    assert fitted(size, (64, 64)) == found
