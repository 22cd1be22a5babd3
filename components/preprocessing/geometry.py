"""Where a part of an image lies: boxes, and the overlapping tiles that an image is cut into."""

import re
from dataclasses import dataclass

from components.errors import InputError, check

OVERLAP = 8
"""Neighbouring tiles share 1/8 of their side, or more where the proportions of the image ask for it."""
MOST_TILES = 64
_TILES = re.compile(r"([1-9]\d?)x([1-9]\d?)")
_EDGE = re.compile(r"(\d+(?:\.\d+)?)(%?)")

Size = tuple[int, int]
"""Width and height in pixels."""


@dataclass(frozen=True)
class Box:
    """A part of an image: its edges in pixels, of which right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> Size:
        """Width and height."""
        return self.right - self.left, self.bottom - self.top

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns of an array [..., height, width]."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def tile_grid(text: str) -> tuple[int, int]:
    """Rows and columns of tiles, by a text such as `2x2`. `InputError`: it is none, or means more than `MOST_TILES`."""
    found = _TILES.fullmatch(text)
    rows, columns = map(int, found.groups()) if found else (0, 0)
    expected = f"ROWSxCOLUMNS such as 2x2, at most {MOST_TILES} tiles"
    check(0 < rows * columns <= MOST_TILES, "dataset.tiles", text, expected)
    return rows, columns


def tiled_side(side: int, count: int) -> int:
    """Length in pixels of `count` tiles in a row that overlap by 1 / `OVERLAP` of their side."""
    return count * side - (count - 1) * (side // OVERLAP)


def tile_starts(length: int, side: int, count: int) -> list[int]:
    """First pixels of `count` tiles of a side, evenly spaced from one end of a length to the other."""
    if count == 1:
        return [0]
    return [round(index * (length - side) / (count - 1)) for index in range(count)]


def crop_edges(text: str) -> list[tuple[float, str]]:
    """Left, top, right and bottom edge of a crop, each a number and its unit: pixels, or `%` of width or height.

    `InputError` where the text is not such as `100,50,900,850` or `10%,5%,90%,95%`, or the box is empty.
    """
    found = [_EDGE.fullmatch(part.strip()) for part in text.split(",")]
    edges = [(float(match[1]), match[2]) for match in found if match]
    units = {unit for _, unit in edges}
    whole = units == {"%"} or all(value.is_integer() for value, _ in edges)
    fits = len(edges) == len(found) == 4 and len(units) == 1 and whole
    if fits:
        (left, _), (top, _), (right, _), (bottom, _) = edges
        fits = left < right and top < bottom and (units == {""} or max(right, bottom) <= 100)
    expected = "auto, or left,top,right,bottom in pixels (100,50,900,850) or in percent (10%,5%,90%,95%)"
    check(fits, "dataset.crop", text, expected)
    return edges


def crop_box(text: str, size: Size, name: str) -> Box:
    """The box of a crop in an image of a size, the whole of it for an empty text; messages call the image `name`."""
    width, height = size
    if not text:
        return Box(0, 0, width, height)
    edges = zip(crop_edges(text), (width, height, width, height), strict=True)
    box = Box(*(round(value * length / 100) if unit else int(value) for (value, unit), length in edges))
    if box.right > width or box.bottom > height or min(box.size) < 1:
        raise InputError(f"{name}: size is {width}x{height}, expected one that holds dataset.crop {text}")
    return box


def fitted(size: Size, bounds: Size) -> Size:
    """The largest size in the proportions of `size` that lies within bounds; no side vanishes."""
    scale = min(bound / side for bound, side in zip(bounds, size, strict=True))
    width, height = (max(1, min(bound, round(side * scale))) for side, bound in zip(size, bounds, strict=True))
    return width, height
