"""Regions of MVTec LOCO AD's ground truth, each with the area at which its overlap saturates.

Source: Bergmann, Batzner, Fauser, Sattlegger and Steger, "Beyond Dents and Scratches: Logical Constraints in
Unsupervised Anomaly Detection and Localization", IJCV 130, 2022. Each mask file of an image marks one region by one
grey value, which stands for an entry of `defects_config.json` in the class folder.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import Region
from components.dataset.masks import mask_values
from components.errors import InputError, check
from components.listing.layouts import DEFECTS_CONFIG

if TYPE_CHECKING:
    from components.artifacts import BoolMask

_KEYS = ("defect_name", "pixel_value", "saturation_threshold", "relative_saturation")


@dataclass(frozen=True, kw_only=True)
class DefectType:
    """One entry of `defects_config.json`."""

    name: str
    threshold: float
    """Saturation threshold: a share of the region's area if `relative`, else pixels of the published images."""
    relative: bool

    def saturation(self, area: int) -> float:
        """Share of a region's area, in pixels of the published images, at which its overlap saturates.

        At least a pixel's, and at most the whole: a region that is smaller than the threshold must be found whole.
        """
        pixels = int(self.threshold * area) if self.relative else self.threshold
        return min(max(pixels, 1) / area, 1.0)


def read_defect_types(file: Path, path: str) -> dict[int, DefectType]:
    """Defect types of a class folder's `defects_config.json` by their grey value; messages call the file `path`.

    Raises `InputError` where it is no list of defects in the published form, or two of them have the same value.
    """
    try:
        entries = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON: {error}") from error
    check(isinstance(entries, list), path, type(entries).__name__, "a list of defects")
    found: dict[int, DefectType] = {}
    for entry in entries:
        right = isinstance(entry, dict) and set(_KEYS) <= set(entry)
        check(right, path, entry, f"the keys {', '.join(_KEYS)}")
        name, value, threshold, relative = (entry[key] for key in _KEYS)
        check(isinstance(name, str), f"{path}: defect_name", name, "a text")
        check(type(value) is int and 0 < value <= 255, f"{path}: pixel_value", value, "1 to 255")
        check(value not in found, f"{path}: pixel_value", value, "each value once")
        check(isinstance(relative, bool), f"{path}: relative_saturation", relative, "true or false")
        right = type(threshold) in (int, float) and threshold > 0 and (not relative or threshold <= 1)
        expected = "a share above 0, at most 1" if relative else "a positive number of pixels"
        check(right, f"{path}: saturation_threshold", threshold, expected)
        found[value] = DefectType(name=name, threshold=float(threshold), relative=relative)
    return found


def read_regions(
    files: Sequence[tuple[Path, str]],
    defect_types: Mapping[int, DefectType],
    image_size: tuple[int, int],
    place: "Callable[[BoolMask], BoolMask]",
) -> list[Region]:
    """Regions of one image of a width and height (`image_size`), one for each mask file, placed as the image is.

    A file is given with its name for messages. A region that lies outside of the crop is left out.

    Raises `InputError` where a file is no grey image with one value, that of a defect type, or has another size.
    """
    import numpy as np

    regions = []
    for path, name in files:
        values = mask_values(path, image_size, name)
        check(values.ndim == 2, f"mask {name}", f"{values.ndim} dimensions", "a grey image")
        found = [int(value) for value in np.unique(values) if value > 0]
        check(len(found) == 1, f"mask {name}", found, "one grey value beside 0")
        check(found[0] in defect_types, f"mask {name}", found[0], f"a pixel_value of {DEFECTS_CONFIG}")
        defect, mask = defect_types[found[0]], values > 0
        saturation = defect.saturation(int(mask.sum()))
        placed = place(mask)
        if placed.any():
            regions.append(Region(name=defect.name, mask=placed, saturation=saturation))
    return regions
