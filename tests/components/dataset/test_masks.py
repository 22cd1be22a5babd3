"""Masks of any common kind keep the defects that they mark, in another size too."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from components.dataset.masks import HALF, decode_mask
from components.errors import InputError
from components.preprocessing.transform import Preprocessing
from tests.components.trees import SIDE, marked, save

BoolMask = npt.NDArray[np.bool_]

MARKED = marked() > 0


def _decoded(paths: Sequence[Path], image_size: tuple[int, int], size: int, threshold: float = HALF) -> BoolMask:
    place = partial(Preprocessing.untouched(size).place_mask, name="image")
    return decode_mask([(path, str(path)) for path in paths], image_size, place, threshold)


def _read(path: Path, threshold: float = HALF) -> BoolMask:
    return _decoded([path], (SIDE, SIDE), SIDE, threshold)


def test_mask_in_the_right_size_is_kept(tmp_path: Path) -> None:
    mask = _decoded([save(tmp_path / "mask.png", marked())], (SIDE, SIDE), SIDE)

    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, marked() > 0)


@pytest.mark.parametrize(("dtype", "value"), [(np.uint8, 1), (np.uint8, 255), (np.uint16, 1), (np.uint16, 65535)])
def test_any_value_above_zero_marks(tmp_path: Path, dtype: type[np.unsignedinteger], value: int) -> None:
    stored = np.where(marked() > 0, value, 0).astype(dtype)

    np.testing.assert_array_equal(_decoded([save(tmp_path / "mask.png", stored)], (SIDE, SIDE), SIDE), marked() > 0)


def test_two_colour_mask_is_read(tmp_path: Path) -> None:
    Image.fromarray(marked() > 0).save(tmp_path / "mask.png")

    np.testing.assert_array_equal(_decoded([tmp_path / "mask.png"], (SIDE, SIDE), SIDE), marked() > 0)


def test_several_masks_are_united(tmp_path: Path) -> None:
    first, second = marked(row=0, rows=8), marked(row=32, rows=8)
    paths = [save(tmp_path / "0.png", first), save(tmp_path / "1.png", second)]

    np.testing.assert_array_equal(_decoded(paths, (SIDE, SIDE), SIDE), (first | second) > 0)


def test_one_of_several_masks_may_be_empty(tmp_path: Path) -> None:
    paths = [save(tmp_path / "0.png", marked(rows=0)), save(tmp_path / "1.png", marked())]

    np.testing.assert_array_equal(_decoded(paths, (SIDE, SIDE), SIDE), marked() > 0)


def test_pixel_is_marked_when_half_of_what_it_covers_was(tmp_path: Path) -> None:
    stored = np.zeros((2 * SIDE, 2 * SIDE), dtype=np.uint8)
    stored[:20] = 255
    stored[20, :] = 255
    stored[40, ::2] = 255

    mask = _decoded([save(tmp_path / "mask.png", stored)], (2 * SIDE, 2 * SIDE), SIDE)

    assert np.flatnonzero(mask.all(axis=1)).tolist() == list(range(11))
    assert not mask[11:].any()


@pytest.mark.parametrize("side", [SIDE, 100, 512, 700])
def test_defect_of_one_pixel_survives_resizing(tmp_path: Path, side: int) -> None:
    stored = np.zeros((side, side), dtype=np.uint8)
    stored[side // 2, side // 4] = 255

    mask = _decoded([save(tmp_path / "mask.png", stored)], (side, side), SIDE)

    rows, columns = np.nonzero(mask)
    assert 1 <= len(rows) <= 4
    assert abs(rows.mean() - SIDE / 2) <= 1
    assert abs(columns.mean() - SIDE / 4) <= 1


def test_empty_mask_is_named(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.png", marked(rows=0))

    with pytest.raises(InputError, match=r"mask .*mask.png: empty, expected at least one marked pixel"):
        _decoded([path], (SIDE, SIDE), SIDE)


def test_mask_of_another_size_is_named_with_both_sizes(tmp_path: Path) -> None:
    path = save(tmp_path / "mask.png", marked(height=32, width=48))

    with pytest.raises(InputError, match=r"mask .*mask.png: size is 48x32, expected 64x64 as its image"):
        _decoded([path], (SIDE, SIDE), SIDE)


def _alpha(colour: Sequence[int], ground: Sequence[int], opacity: int = 255) -> Image.Image:
    """A mask whose marks are paint of a colour on a transparent ground."""
    pixels = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(MARKED[..., None], colour, ground)
    pixels[..., 3] = np.where(MARKED, opacity, 0)
    return Image.fromarray(pixels)


def _palette(ground: Sequence[int], mark: Sequence[int]) -> Image.Image:
    stored = Image.fromarray(MARKED.astype(np.uint8))
    stored.putpalette([*ground, *mark])
    return stored


def _labels(*colours: Sequence[int]) -> Image.Image:
    """Marks of several colours beside each other on black."""
    pixels = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)
    for index, columns in enumerate(np.array_split(np.arange(SIDE), len(colours))):
        pixels[8:24, columns] = colours[index]
    return Image.fromarray(pixels)


def _opaque_with_corner() -> Image.Image:
    """White on black, all opaque but for a corner."""
    pixels = np.zeros((SIDE, SIDE, 4), dtype=np.uint8)
    pixels[..., :3] = marked()[..., None]
    pixels[..., 3] = 255
    pixels[-4:, -4:, 3] = 0
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    "stored",
    [
        _alpha((255, 255, 255), (255, 255, 255)),
        _alpha((0, 0, 0), (0, 0, 0)),
        _alpha((200, 0, 0), (255, 255, 255)),
        _alpha((0, 0, 139), (0, 0, 0), opacity=200),
        _opaque_with_corner(),
        Image.fromarray(marked()).convert("LA"),
        _palette((255, 255, 255), (0, 0, 0)),
        _palette((255, 255, 255), (200, 30, 30)),
        _palette((0, 0, 0), (255, 255, 255)),
        _palette((0, 0, 0), (64, 0, 0)),
        _labels((255, 0, 0), (0, 0, 64)),
        _labels((1, 1, 1), (2, 2, 2), (7, 7, 7)),
    ],
    ids=[
        *("white paint", "black paint", "red paint", "faint blue paint", "opaque with a corner", "opaque alpha"),
        *("black on white palette", "red on white palette", "white on black palette", "dark palette"),
        *("colours", "small values"),
    ],
)
def test_marks_of_any_kind_are_read(tmp_path: Path, stored: Image.Image) -> None:
    stored.save(tmp_path / "mask.png")

    np.testing.assert_array_equal(_read(tmp_path / "mask.png"), MARKED)


def test_transparent_colour_of_a_palette_is_the_ground(tmp_path: Path) -> None:
    _palette((9, 9, 9), (120, 120, 120)).save(tmp_path / "mask.png", transparency=0)

    np.testing.assert_array_equal(_read(tmp_path / "mask.png"), MARKED)


@pytest.mark.parametrize("suffix", ["jpg", "jfif"])
def test_noise_of_jpeg_marks_nothing(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mask.{suffix}"
    mask = marked()
    mask[40:43, 10:13] = 255
    Image.fromarray(mask).save(path, "JPEG", quality=60)
    assert ((np.asarray(Image.open(path)) > 0) != (mask > 0)).any()

    np.testing.assert_array_equal(_read(path), mask > 0)


@pytest.mark.parametrize(("threshold", "last"), [(0.5, 20), (0.0, 23), (0.9, 17)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_soft_edge_ends_where_it_is_half_as_bright(
    tmp_path: Path, dtype: type[np.unsignedinteger], threshold: float, last: int
) -> None:
    """Rows 8 to 16 are marked, and rows 17 to 23 fade: 7/8, 6/8, ... 1/8 of the brightness."""
    rows = np.zeros(SIDE)
    rows[8:17] = 1
    rows[17:24] = np.arange(7, 0, -1) / 8
    stored = np.repeat((rows * np.iinfo(dtype).max).astype(dtype)[:, None], SIDE, axis=1)
    path = save(tmp_path / "mask.png", stored)

    found = _read(path, threshold)

    expected = rows > threshold if threshold else rows > 0
    np.testing.assert_array_equal(found[:, 0], expected)
    assert abs(int(np.flatnonzero(found[:, 0]).max()) - last) <= 1


def test_grey_palette_with_soft_edges_on_white(tmp_path: Path) -> None:
    values = 255 - marked()
    values[24] = 100
    values[25] = 200
    Image.fromarray(values).convert("P").save(tmp_path / "mask.png")

    assert np.flatnonzero(_read(tmp_path / "mask.png").all(axis=1)).tolist() == list(range(8, 25))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_inverted_mask_is_named(tmp_path: Path, mode: str) -> None:
    Image.fromarray(255 - marked()).convert(mode).save(tmp_path / "mask.png")

    with pytest.raises(InputError, match=r"mask .*mask.png: marks 75% of the image, .* it may be inverted"):
        _read(tmp_path / "mask.png")
