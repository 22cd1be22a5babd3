"""Mask files as people and tools leave them: which pixels they mark, united for an image and placed with it.

What marks a pixel depends on how the mask was stored:

* alpha: paint on a transparent ground marks by its opacity; opaque black and white mark by their brightness;
* palette: every colour but the commonest one marks, be the background white or black; a palette of greys alone that
  holds more than two is read as a grey image;
* few plain colours, or grey values of 31 at most: labels, of which all but black mark;
* all else, soft edges and JPEG too: values above a share (`threshold`) of the mask's range mark, which is its largest
  value, or 255 in a JPEG file, where black is noisy.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.decode import MEGAPIXEL, MEGAPIXELS, opened_image
from components.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from components.artifacts import BoolMask

    Values = npt.NDArray[Any]

HALF = 0.5
"""Default share of a mask's range above which a pixel is marked."""
MOST_MARKED = 0.5
"""Largest share of an image that its masks may mark."""
_LABELS = 31
"""Largest grey value that is taken for a label; brighter ones are shades."""
_COLOURS = 16
"""Largest number of plain colours that are taken for labels."""
_COLOUR_MODES = ("P", "RGBA", "LA", "PA", "CMYK", "YCbCr")


def read_mask(
    files: Sequence[tuple[Path, str]],
    image_size: tuple[int, int],
    threshold: float = HALF,
    *,
    empty: bool = False,
    largest: float = MOST_MARKED,
) -> "BoolMask":
    """Union [height, width] of the masks of one image of a width and height (`image_size`), each a path and its name.

    Raises `InputError` where a mask cannot be read or has another size than its image, where nothing is marked, unless
    it may be `empty`, or more than a share `largest` of the image, as in an inverted mask.
    """
    import numpy as np

    union = np.zeros((image_size[1], image_size[0]), dtype=bool)
    for path, name in files:
        union |= marked_pixels(path, image_size, threshold, name)
    share = float(union.mean())
    if not share and not empty:
        raise InputError(f"mask {files[0][1]}: empty, expected at least one marked pixel")
    if share > largest:
        message = f"marks {share:.0%} of the image, expected {largest:.0%} at most: it may be inverted"
        raise InputError(f"mask {files[0][1]}: {message} (white or opaque marks the defect)")
    return union


def decode_mask(
    files: Sequence[tuple[Path, str]],
    image_size: tuple[int, int],
    place: "Callable[[BoolMask], BoolMask]",
    threshold: float = HALF,
) -> "BoolMask":
    """Union of the masks of one image, placed as it is; the other arguments and errors are those of `read_mask`."""
    return place(read_mask(files, image_size, threshold))


def marked_pixels(path: Path, image_size: tuple[int, int], threshold: float, name: str) -> "BoolMask":
    """Pixels [height, width] that a mask file marks; see the module. Errors are those of `mask_values`."""
    from PIL import ImageOps

    with opened_image(path, f"mask {name}", _megapixels(image_size)) as opened:
        values, lossy = _values(ImageOps.exif_transpose(opened)), opened.format in ("JPEG", "MPO")
    _check_size(values, image_size, name)
    shade = values.max(axis=2) if values.ndim == 3 else values
    limit = 0.0 if _is_labels(values, lossy) else threshold * (255 if lossy else float(shade.max(initial=0)))
    marked: BoolMask = shade > limit
    return marked


def mask_values(path: Path, image_size: tuple[int, int], name: str) -> "Values":
    """Values of a mask file as stored: [height, width] of a grey one, [height, width, 3] of one in colours.

    Raises `InputError` where it cannot be read, or has another size than `image_size`, the width and height of its
    image; messages call it `name`.
    """
    import numpy as np

    with opened_image(path, f"mask {name}", _megapixels(image_size)) as stored:
        values = np.asarray(stored.convert("RGB") if stored.mode in _COLOUR_MODES else stored)
    _check_size(values, image_size, name)
    return values


def _values(stored: "Image") -> "Values":
    """Values [height, width] or [height, width, 3] of a mask, the larger the more a pixel is marked."""
    import numpy as np

    if stored.mode in ("RGBA", "LA", "PA") or "transparency" in stored.info:
        pixels = np.asarray(stored.convert("RGBA"))
        if pixels[..., 3].min() < pixels[..., 3].max():
            return _painted(pixels)
    if stored.mode in ("P", "PA"):
        return _of_palette(np.asarray(stored.convert("RGB")))
    return np.asarray(stored.convert("RGB") if stored.mode in _COLOUR_MODES else stored)


def _painted(pixels: "Values") -> "Values":
    """Values of colours and alpha [height, width, 4]: the alpha of paint, else the brightness where it is opaque."""
    import numpy as np

    shade, alpha = pixels[..., :3].max(axis=2), pixels[..., 3]
    dark = shade[alpha > 127] <= _LABELS
    if dark.any() and not dark.all():
        alpha = shade.astype(np.uint16) * alpha // 255
    found: Values = alpha.astype(np.uint8)
    return found


def _of_palette(colours: "Values") -> "Values":
    """1 where a mask's colours [height, width, 3] are not the commonest one; of several greys their values."""
    import numpy as np

    found, indices, counts = np.unique(colours.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True)
    ground = counts.argmax()
    if len(found) > 2 and (found == found[:, :1]).all():
        values: Values = colours[..., 0]
        return 255 - values if found[ground, 0] > 127 else values
    if len(found) == 1:
        return colours
    marked: Values = (indices.reshape(colours.shape[:2]) != ground).astype(np.uint8)
    return marked


def _is_labels(values: "Values", lossy: bool) -> bool:
    """Whether values stand for kinds of defects, and are no shades."""
    import numpy as np

    if lossy or values.dtype.kind == "f":
        return False
    if values.max(initial=0) <= _LABELS:
        return True
    if values.ndim == 2 or (values == values[..., :1]).all():
        return False
    return len(np.unique(values.reshape(-1, values.shape[-1]), axis=0)) <= _COLOURS


def _check_size(values: "Values", image_size: tuple[int, int], name: str) -> None:
    height, width = values.shape[:2]
    if (width, height) != image_size:
        expected = f"{image_size[0]}x{image_size[1]}"
        raise InputError(f"mask {name}: size is {width}x{height}, expected {expected} as its image")


def _megapixels(image_size: tuple[int, int]) -> int:
    """Largest mask that is opened: as large as its image, which a data set may allow to be larger than others."""
    return max(MEGAPIXELS, -(-image_size[0] * image_size[1] // MEGAPIXEL))
