"""Decodes image and mask files of any common kind to 8-bit RGB and boolean masks of one size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from components.artifacts import BoolMask, UInt8Image

MAX_PIXELS = 64_000_000
"""Largest accepted image, in pixels."""

_COLOUR_MODES = ("P", "RGBA", "LA", "PA", "CMYK", "YCbCr")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_SIXTEEN_TO_EIGHT_BIT = 257


def decode_image(path: Path, size: int) -> tuple["UInt8Image", tuple[int, int]]:
    """RGB image resized to [size, size, 3], and the width and height it had.

    16-bit values are scaled from their full range, grey and palette images are expanded, alpha is dropped,
    and the orientation stored by a camera is applied.

    Raises:
        InputError: the file is no image of a supported format, is damaged, or is larger than `MAX_PIXELS`.
    """
    import numpy as np
    from PIL import Image, ImageOps

    with _opened(path) as stored:
        upright = _to_rgb(ImageOps.exif_transpose(stored), path)
    resized = upright.resize((size, size), Image.Resampling.LANCZOS) if upright.size != (size, size) else upright
    return np.asarray(resized), upright.size


def decode_mask(paths: Sequence[Path], image_size: tuple[int, int], size: int) -> "BoolMask":
    """Union of the masks of one image, resized to [size, size]; a non-zero value marks the defect.

    A pixel is marked when half of what it covers was; a defect too small for that keeps every pixel it touches.

    Raises:
        InputError: a mask cannot be read, is empty, or has another size than its image.
    """
    import numpy as np
    from PIL import Image

    union = np.zeros((image_size[1], image_size[0]), dtype=bool)
    for path in paths:
        with _opened(path) as stored:
            values = np.asarray(stored.convert("RGB") if stored.mode in _COLOUR_MODES else stored)
        marked = (values > 0).any(axis=2) if values.ndim == 3 else values > 0
        if marked.shape != union.shape:
            received, expected = f"{marked.shape[1]}x{marked.shape[0]}", f"{image_size[0]}x{image_size[1]}"
            raise InputError(f"mask {path}: size is {received}, expected {expected} as its image")
        union |= marked
    if not union.any():
        raise InputError(f"mask {paths[0]}: empty, expected at least one marked pixel")
    coverage = np.asarray(Image.fromarray(union.astype(np.float32)).resize((size, size), Image.Resampling.BOX))
    return coverage >= 0.5 if (coverage >= 0.5).any() else coverage > 0


@contextmanager
def _opened(path: Path) -> "Iterator[Image]":
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=_FORMATS) as stored:
            _check_size(stored, path)
            stored.load()
            yield stored
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"image {path}: not an image, expected {', '.join(_FORMATS)}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        if not path.is_file():
            raise
        raise InputError(f"image {path}: damaged ({error})") from error


def _check_size(stored: "Image", path: Path) -> None:
    if stored.width * stored.height > MAX_PIXELS:
        size = f"{stored.width}x{stored.height}"
        raise InputError(f"image {path}: size is {size}, expected at most {MAX_PIXELS} pixels")


def _to_rgb(stored: "Image", path: Path) -> "Image":
    import numpy as np
    from PIL import Image

    if stored.mode == "F":
        raise InputError(f"image {path}: holds floating-point values, expected 8 or 16 bits per channel")
    if not stored.mode.startswith("I"):
        return stored.convert("RGB")
    values = np.asarray(stored).astype(np.uint32).clip(0, 65535)
    grey: np.ndarray = (values // _SIXTEEN_TO_EIGHT_BIT).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")
