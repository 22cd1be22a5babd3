"""Decides, by the files of a data set, what is done to every one of its images."""

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from components.decode import NOTES, largest_value, upright_size
from components.errors import InputError, check
from components.preprocessing.foreground import foreground_crop
from components.preprocessing.geometry import Size, crop_box, fitted, tile_grid, tiled_side
from components.preprocessing.transform import Preprocessing

AUTO = "auto"
BY_DATA_SET = 0
BIT_DEPTHS = (8, 10, 12, 14, 16)

_log = logging.getLogger(__name__)


class PreprocessingSettings(Protocol):
    """The settings that decide, see `components.dataset.config.Config`."""

    @property
    def image_size(self) -> int: ...  # noqa: D102
    @property
    def bit_depth(self) -> int: ...  # noqa: D102
    @property
    def max_megapixels(self) -> int: ...  # noqa: D102
    @property
    def crop(self) -> str: ...  # noqa: D102
    @property
    def keep_aspect(self) -> bool: ...  # noqa: D102
    @property
    def tiles(self) -> str: ...  # noqa: D102


def choose(settings: PreprocessingSettings, files: Mapping[str, Path], given: Sequence[str]) -> Preprocessing:
    """What is done to the images of a data set, of which the given ones are good and trained on.

    The files are given by their names for messages.

    The bit depth is that of the largest value of all files; crop and proportions are those of the given images, so that
    no test image decides on them. `InputError` where a file cannot be read, or a setting does not fit the files.
    """
    limit = settings.max_megapixels
    found = {name: largest_value(path, f"image {name}", max_megapixels=limit) for name, path in files.items()}
    depth = chosen_bit_depth(settings.bit_depth, {name: value for name, value in found.items() if value is not None})
    crop = settings.crop
    if crop == AUTO:
        crop = foreground_crop({name: files[name] for name in given}, bit_depth=depth, max_megapixels=limit)
        _log.info("dataset: crop %s, by the foreground of the given images", crop or "nothing")
    first = given[0]
    size = upright_size(files[first], f"image {first}", max_megapixels=limit)
    return Preprocessing(
        image_size=settings.image_size,
        content=content_size(settings, crop_box(crop, size, f"image {first}").size),
        bit_depth=depth,
        max_megapixels=limit,
        crop=crop,
        keep_aspect=settings.keep_aspect,
        tiles=tile_grid(settings.tiles),
    )


def chosen_bit_depth(asked: int, largest: Mapping[str, int]) -> int:
    """Bits that are used of files that hold 16, by the largest value of each of these files.

    They are the fewest of `BIT_DEPTHS` for all of them, or those asked for, and 16 where all files hold 8. Raises
    `InputError` where a file has values above those of the bits asked for.
    """
    if not largest:
        return asked or BIT_DEPTHS[-1]
    name = max(largest, key=lambda own: (largest[own], own))
    needed = next(depth for depth in BIT_DEPTHS if largest[name] < 2**depth)
    if asked and needed > asked:
        raise InputError(f"dataset.bit_depth: got {asked}, expected {needed} or more: {name} has {largest[name]}")
    depth = asked or needed
    used = "dataset: %d files of 16 bits, of which %d are used: the highest value is %d"
    _log.info(used, len(largest), depth, largest[name])
    return depth


def content_size(settings: PreprocessingSettings, size: Size) -> Size:
    """Width and height to which images, or crops, of a size are resized.

    `InputError` where tiles do not fit into their proportions.
    """
    rows, columns = tile_grid(settings.tiles)
    side = settings.image_size
    bounds = tiled_side(side, columns), tiled_side(side, rows)
    if not settings.keep_aspect:
        return bounds
    found = fitted(size, bounds)
    if (rows, columns) != (1, 1):
        expected = f"as many rows and columns as the proportions of {size[0]}x{size[1]} ask for: dataset.keep_aspect"
        check(min(found) >= side, "dataset.tiles", settings.tiles, expected)
    return found


class Notices:
    """Counts what is unusual about the files that were read."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = defaultdict(list)

    def add(self, notes: Sequence[str], name: str) -> None:
        """Note what is unusual about an image, called `name` in messages: keys of `NOTES`."""
        for note in notes:
            self._found[note].append(name)

    def report(self) -> dict[str, int]:
        """Warn of each kind in a line, and return the number of images by kind, such as `narrow_images`."""
        for note, names in self._found.items():
            _log.warning("dataset: %d images with %s; the first is %s", len(names), NOTES[note], names[0])
        return {f"{note}_images": len(names) for note, names in sorted(self._found.items())}
