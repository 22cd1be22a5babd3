"""Image files: where data sets keep the good ones, and their decoding to 8-bit RGB and boolean masks of one size."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from components.artifacts import BoolMask, UInt8Image

MAX_PIXELS = 64_000_000
"""Largest accepted image, in pixels."""
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp"}
"""Endings, in lower case, of the files that count as images in a folder."""

FOLDER = "folder"
GOOD_FOLDERS: Mapping[str, str] = {"mvtec": "train/good", "btad": "train/ok", "loco": "train/good", FOLDER: "good"}
"""Folder of the good training images below a class folder, by layout; that of `FOLDER` has the good test images too."""

_COLOUR_MODES = ("P", "RGBA", "LA", "PA", "CMYK", "YCbCr")
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_SIXTEEN_TO_EIGHT_BIT = 257


def drawn_for_test(count: int, test_fraction: float, seed: int) -> set[int]:
    """Indices, in the order of their names, of the good images that the layout `FOLDER` has in its test split."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(count)
    return set(order[: max(1, round(test_fraction * count))].tolist())


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


def decode_shrunk(path: Path, longest: int) -> "UInt8Image":
    """RGB image [height, width, 3] in its own proportions, its longest side at most `longest` pixels.

    Errors are those of `decode_image`.
    """
    import numpy as np
    from PIL import Image

    upright = _upright(path, f"image {path}")
    upright.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(upright)


def resize_array(pixels: "UInt8Image", size: int, name: str) -> "UInt8Image":
    """RGB image [height, width, 3], of `MAX_PIXELS` at most, resized to [size, size, 3] as `decode_image` does."""
    from PIL import Image

    height, width, _ = pixels.shape
    _check_size(width, height, name)
    return _resized(Image.fromarray(pixels), size)


def decode_mask(paths: Sequence[Path], image_size: tuple[int, int], size: int) -> "BoolMask":
    """Union of the masks of one image of a width and height, resized to [size, size]; non-zero marks the defect.

    Raises:
        InputError: a mask cannot be read, is empty, or has another size than its image.
    """
    import numpy as np

    union = np.zeros((image_size[1], image_size[0]), dtype=bool)
    for path in paths:
        values = mask_values(path, image_size)
        union |= (values > 0).any(axis=2) if values.ndim == 3 else values > 0
    if not union.any():
        raise InputError(f"mask {paths[0]}: empty, expected at least one marked pixel")
    return resize_mask(union, size)


def mask_values(path: Path, image_size: tuple[int, int]) -> "npt.NDArray[Any]":
    """Values of a mask file as stored: [height, width] of a grey one, [height, width, 3] of one in colours.

    Raises:
        InputError: it cannot be read, or has another size than `image_size`, the width and height of its image.
    """
    import numpy as np

    with _opened(path, f"image {path}") as stored:
        values = np.asarray(stored.convert("RGB") if stored.mode in _COLOUR_MODES else stored)
    height, width = values.shape[:2]
    if (width, height) != image_size:
        expected = f"{image_size[0]}x{image_size[1]}"
        raise InputError(f"mask {path}: size is {width}x{height}, expected {expected} as its image")
    return values


def resize_mask(mask: "BoolMask", size: int) -> "BoolMask":
    """Mask [height, width], marked somewhere, resized to [size, size].

    A pixel is marked when half of what it covers was; a defect too small for that keeps every pixel it touches.
    """
    import numpy as np
    from PIL import Image

    coverage = np.asarray(Image.fromarray(mask.astype(np.float32)).resize((size, size), Image.Resampling.BOX))
    return coverage >= 0.5 if (coverage >= 0.5).any() else coverage > 0


@contextmanager
def _opened(file: Path | bytes, name: str) -> "Iterator[Image]":
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

    with _opened(file, name) as opened:
        stored = ImageOps.exif_transpose(opened)
        if stored.mode == "F":
            raise InputError(f"{name}: holds floating-point values, expected 8 or 16 bits per channel")
        if not stored.mode.startswith("I"):
            return stored.convert("RGB")
        values = np.asarray(stored).astype(np.uint32).clip(0, 65535)
        grey: np.ndarray = (values // _SIXTEEN_TO_EIGHT_BIT).astype(np.uint8)
        return Image.fromarray(grey).convert("RGB")
