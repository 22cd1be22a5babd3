"""Decoding of image files to 8-bit RGB of one size."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from components.artifacts import UInt8Image

MAX_PIXELS = 64_000_000
"""Largest accepted image, in pixels."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_SIXTEEN_TO_EIGHT_BIT = 257


def decode_image(file: Path | bytes, size: int, name: str) -> tuple["UInt8Image", tuple[int, int]]:
    """RGB image of a file or of its content resized to [size, size, 3], and the width and height it had.

    16-bit values are scaled from their full range, grey and palette images are expanded, alpha is dropped,
    and the orientation stored by a camera is applied.

    Raises:
        InputError: the file is no image of a supported format, is damaged, or is larger than `MAX_PIXELS`; messages
            call it `name`.
    """
    upright = _upright(file, name)
    return _resized(upright, size), upright.size


def decode_shrunk(path: Path, longest: int, name: str) -> "UInt8Image":
    """RGB image [height, width, 3] in its own proportions, its longest side at most `longest` pixels.

    Errors are those of `decode_image`.
    """
    import numpy as np
    from PIL import Image

    upright = _upright(path, name)
    upright.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(upright)


def resize_array(pixels: "UInt8Image", size: int, name: str) -> "UInt8Image":
    """RGB image [height, width, 3], of `MAX_PIXELS` at most, resized to [size, size, 3] as `decode_image` does."""
    from PIL import Image

    height, width, _ = pixels.shape
    _check_size(width, height, name)
    return _resized(Image.fromarray(pixels), size)


@contextmanager
def opened_image(file: Path | bytes, name: str) -> "Iterator[Image]":
    """The stored image of a file or of its content, as Pillow has it; errors are those of `decode_image`."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file if isinstance(file, Path) else io.BytesIO(file), formats=_FORMATS) as stored:
            _check_size(stored.width, stored.height, name)
            stored.load()
            yield stored
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image, expected {', '.join(_FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: too large ({error}), expected at most {MAX_PIXELS} pixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(file, Path) and not file.is_file():
            raise
        raise InputError(f"{name}: damaged ({error})") from error


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{name}: size is {width}x{height}, expected at most {MAX_PIXELS} pixels")


def _resized(image: "Image", size: int) -> "UInt8Image":
    import numpy as np
    from PIL import Image

    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS) if image.size != (size, size) else image)


def _upright(file: Path | bytes, name: str) -> "Image":
    """8-bit RGB image, turned as its camera says."""
    import numpy as np
    from PIL import Image, ImageOps

    with opened_image(file, name) as opened:
        stored = ImageOps.exif_transpose(opened)
        if stored.mode == "F":
            raise InputError(f"{name}: holds floating-point values, expected 8 or 16 bits per channel")
        if not stored.mode.startswith("I"):
            return stored.convert("RGB")
        values = np.asarray(stored).astype(np.uint32).clip(0, 65535)
        grey: np.ndarray = (values // _SIXTEEN_TO_EIGHT_BIT).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
