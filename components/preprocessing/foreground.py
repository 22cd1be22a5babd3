"""The part of an image that is not its background, for `dataset.crop: auto`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from components.decode import decode_file

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from components.artifacts import UInt8Image

_LONGEST = 256
_MARGIN = 0.03
_STEP = 5
_LEAST_AREA = 0.005
_LARGEST_CROP = 0.9
_LEAST_CONTRAST = 20
_BINS = 256


def foreground_crop(files: Mapping[str, Path], *, bit_depth: int, max_megapixels: int) -> str:
    """Crop in percent that holds the foreground of all images, by their names; empty where it is nearly all or none.

    It has a margin of 3 % of the sides, and its edges are multiples of 5 %, outwards, so that a line that is trained
    again on further images seldom gets another.
    """
    import numpy as np

    found = [foreground_box(_shrunk(*file, bit_depth, max_megapixels)) for file in files.items()]
    if any(edges is None for edges in found):
        return ""
    boxes = np.array(found, dtype=float)
    low = np.floor((boxes[:, :2].min(axis=0) - _MARGIN) * 100 / _STEP).clip(0) * _STEP
    high = np.ceil((boxes[:, 2:].max(axis=0) + _MARGIN) * 100 / _STEP).clip(max=100 / _STEP) * _STEP
    if float(((high - low) / 100).prod()) > _LARGEST_CROP:
        return ""
    return ",".join(f"{value:g}%" for value in (*low, *high))


def foreground_box(image: "UInt8Image") -> tuple[float, float, float, float] | None:
    """Left, top, right and bottom, as shares of the sides, of what differs from the border of an image [h, w, 3].

    Difference is the distance to the median colour of the border, split by Otsu's threshold; parts below 0.5 % of the
    image are noise. None where nothing is left.
    """
    import numpy as np
    from scipy.ndimage import binary_opening, label

    colours = image.astype(np.float64)
    border = np.concatenate([colours[0], colours[-1], colours[:, 0], colours[:, -1]])
    distance: npt.NDArray[np.float64] = np.linalg.norm(colours - np.median(border, axis=0), axis=2)
    if distance.max() < _LEAST_CONTRAST:
        return None
    parts, _count = label(binary_opening(distance > otsu_threshold(distance), np.ones((3, 3))))
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    rows, columns = np.nonzero(np.isin(parts, np.flatnonzero(areas >= _LEAST_AREA * parts.size)))
    if not len(rows):
        return None
    height, width = parts.shape
    return columns.min() / width, rows.min() / height, (columns.max() + 1) / width, (rows.max() + 1) / height


def otsu_threshold(values: "npt.NDArray[np.float64]") -> float:
    """The threshold that splits values into the two classes with the largest variance between them (Otsu, 1979)."""
    import numpy as np

    counts, edges = np.histogram(values, _BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below, sums = np.cumsum(counts), np.cumsum(counts * centres)
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(centres[np.nanargmax(between)])


def _shrunk(name: str, path: Path, bit_depth: int, max_megapixels: int) -> "UInt8Image":
    import numpy as np

    image = decode_file(path, f"image {name}", bit_depth=bit_depth, max_megapixels=max_megapixels).image
    image.thumbnail((_LONGEST, _LONGEST))
    return np.asarray(image)
