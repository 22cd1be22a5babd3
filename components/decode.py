"""Decoding of image files to 8-bit RGB."""

import io
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import InputError

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

    from components.artifacts import UInt8Image

MEGAPIXEL = 1_000_000
MEGAPIXELS = 64
"""Largest accepted image, in millions of pixels, unless a data set allows more."""

_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP")
_SIXTEEN_BITS = 65_535
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_GREY_WITH_ALPHA = "LA;16B"
_FOREIGN_ORDER = "B" if sys.byteorder == "little" else "L"
_OTHER_BYTE_ORDER = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA")
    for order, other in (("B", "L"), ("L", "B"), ("N", _FOREIGN_ORDER))
}

PAGES, HIDDEN, NARROW, CLIPPED, OUTSIDE = "pages", "hidden", "narrow", "clipped", "outside"
NARROW_RANGE = 25.5
"""A tenth of the values of 8 bits."""
NOTES: Mapping[str, str] = {
    PAGES: "more than one page, of which the first is read",
    HIDDEN: "transparent pixels, which show black, whatever the file holds there",
    NARROW: "values that span less than a tenth of the range: dark, flat, or of fewer bits than dataset.bit_depth says",
    CLIPPED: "values above the range of dataset.bit_depth, which show white",
    OUTSIDE: "a defect outside of dataset.crop, where no detector sees it",
}
"""What may be unusual about an image file, after `images with`."""


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """An image file as 8-bit RGB, turned as its camera says, in its own size."""

    image: "Image"
    notes: tuple[str, ...] = ()
    """What is unusual about it: keys of `NOTES`."""


def decode_image(
    file: Path | bytes, size: int, name: str, *, max_megapixels: int = MEGAPIXELS
) -> tuple["UInt8Image", tuple[int, int]]:
    """RGB image of a file or of its content resized to [size, size, 3], and the width and height it had.

    Values are those of `decode_file` at 16 bits, and so are the errors.
    """
    upright = decode_file(file, name, max_megapixels=max_megapixels).image
    return resized(upright, (size, size)), upright.size


def decode_shrunk(path: Path, longest: int, name: str) -> "UInt8Image":
    """RGB image [height, width, 3] in its own proportions, its longest side at most `longest` pixels.

    Errors are those of `decode_file`.
    """
    import numpy as np
    from PIL import Image

    upright = decode_file(path, name).image
    upright.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(upright)


def decode_file(file: Path | bytes, name: str, *, bit_depth: int = 16, max_megapixels: int = MEGAPIXELS) -> Decoded:
    """8-bit RGB image of a file or of its content, turned as its camera says.

    Values stored with 16 bits are scaled from 0 to 2^bit_depth - 1, and higher ones are white; grey and palette images
    are expanded; what is transparent shows black. Of several pages the first is read.

    Raises:
        InputError: the file is no image of a supported format, is damaged, or is larger than `max_megapixels`; messages
            call it `name`.
    """
    from PIL import Image, ImageOps

    with opened_image(file, name, max_megapixels) as stored:
        raw_mode = _raw_mode(stored)
        notes = [PAGES] if getattr(stored, "n_frames", 1) > 1 else []
        deep = _deep_values(stored, raw_mode, file)
        if deep is None and stored.mode == "F":
            raise InputError(f"{name}: holds floating-point values, expected 8 or 16 bits per channel")
        if deep is None:
            coloured = ImageOps.exif_transpose(stored)
        else:
            notes += [CLIPPED] if (deep[..., :3] >= 2**bit_depth).any() else []
            values = scaled(deep, bit_depth)
            coloured = Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
        image, hidden = _opaque(coloured)
        notes += [HIDDEN] if hidden else []
    extrema: Any = image.getextrema()
    if max(high for _, high in extrema) - min(low for low, _ in extrema) < NARROW_RANGE:
        notes.append(NARROW)
    return Decoded(image=image, notes=tuple(notes))


def scaled(values: "npt.NDArray[Any]", bit_depth: int) -> "UInt8Image":
    """Values from 0 to 2^bit_depth - 1 in 8 bits, rounded down; higher ones become 255."""
    import numpy as np

    highest = 2**bit_depth - 1
    found: UInt8Image = (values.clip(0, highest).astype(np.uint32) * 255 // highest).astype(np.uint8)
    return found


def upright_size(path: Path, name: str, *, max_megapixels: int = MEGAPIXELS) -> tuple[int, int]:
    """Width and height of an image file, turned as its camera says. Errors are those of `decode_file`."""
    with opened_image(path, name, max_megapixels) as stored:
        turned = stored.getexif().get(_ORIENTATION, 1) in _TURNED
        return (stored.height, stored.width) if turned else stored.size


def largest_value(path: Path, name: str, *, max_megapixels: int = MEGAPIXELS) -> int | None:
    """Largest value of an image file with 16 bits per channel; None for one with 8, whose values are not read.

    Errors are those of `decode_file`.
    """
    with opened_image(path, name, max_megapixels) as stored:
        deep = _deep_values(stored, _raw_mode(stored), path)
        return None if deep is None else int(deep[..., :3].max())


@contextmanager
def opened_image(file: Path | bytes, name: str, max_megapixels: int = MEGAPIXELS) -> "Iterator[Image]":
    """The image of a file before its pixels are read; what they raise becomes an `InputError` as well."""
    from PIL import Image, UnidentifiedImageError

    try:
        with (
            _pillow_limit(max_megapixels * MEGAPIXEL),
            Image.open(file if isinstance(file, Path) else io.BytesIO(file), formats=_FORMATS) as stored,
        ):
            check_size(stored.size, name, max_megapixels)
            yield stored
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"{name}: not an image, expected {', '.join(_FORMATS)}") from error
    except Image.DecompressionBombError as error:
        raise InputError(f"{name}: too large ({error}), expected at most {max_megapixels} megapixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        if isinstance(file, Path) and not file.is_file():
            raise
        raise InputError(f"{name}: damaged ({error})") from error


@contextmanager
def _pillow_limit(pixels: int) -> Iterator[None]:
    """Let Pillow open images of a number of pixels: above its own limit it warns, and above twice that it refuses."""
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = max(pixels, before or 0)
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def check_size(size: tuple[int, int], name: str, max_megapixels: int) -> None:
    """Raise `InputError` where an image of a width and height has more pixels than allowed."""
    width, height = size
    if width * height > max_megapixels * MEGAPIXEL:
        limit = f"at most {max_megapixels} megapixels; dataset.max_megapixels allows more"
        raise InputError(f"{name}: size is {width}x{height}, expected {limit}")


def resized(image: "Image", size: tuple[int, int]) -> "UInt8Image":
    """RGB image in a width and height, as an array [height, width, 3]."""
    import numpy as np
    from PIL import Image

    return np.asarray(image if image.size == size else image.resize(size, Image.Resampling.LANCZOS))


def _opaque(image: "Image") -> tuple["Image", bool]:
    """RGB image in which what was transparent shows black, and whether anything was."""
    from PIL import Image

    if not image.has_transparency_data:
        return image.convert("RGB"), False
    with_alpha = image.convert("RGBA")
    low, _high = with_alpha.getchannel("A").getextrema()
    if low == 255:
        return image.convert("RGB"), False
    return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), with_alpha).convert("RGB"), True


def _raw_mode(stored: "Image") -> str:
    """How the samples of an image lie in its file, in Pillow's words, such as `RGB;16B`; it must not be loaded yet."""
    tiles: Any = getattr(stored, "tile", None)
    arguments = tiles[0].args if tiles else ""
    return str(arguments[0] if isinstance(arguments, tuple) and arguments else arguments)


def _deep_values(stored: "Image", raw_mode: str, file: Path | bytes) -> "npt.NDArray[Any] | None":
    """Values [height, width, channels] of an image with 16 bits per channel, turned as its camera says; None for 8.

    Pillow keeps 16 bits of grey images alone, and of colours the higher byte. The lower one comes from a second reading
    in the other byte order, and both bytes of grey with alpha from one as four channels.
    """
    import numpy as np
    from PIL import ImageOps

    if stored.mode.startswith("I"):
        grey = np.asarray(ImageOps.exif_transpose(stored)).clip(0, _SIXTEEN_BITS)
        return grey.astype(np.uint16)[..., None]
    if raw_mode == _GREY_WITH_ALPHA:
        pairs = np.asarray(ImageOps.exif_transpose(_read_as(file, "RGBA"))).astype(np.uint16)
        return (pairs[..., ::2] * 256 + pairs[..., 1::2])[..., [0, 0, 0, 1]]
    if raw_mode not in _OTHER_BYTE_ORDER:
        return None
    high = np.asarray(ImageOps.exif_transpose(stored)).astype(np.uint16)
    low = np.asarray(ImageOps.exif_transpose(_read_as(file, _OTHER_BYTE_ORDER[raw_mode])))
    both: npt.NDArray[np.uint16] = high * 256 + low
    return both


def _read_as(file: Path | bytes, raw_mode: str) -> "Image":
    """The image of a file whose samples are taken to lie in another way."""
    from PIL import Image

    with Image.open(file if isinstance(file, Path) else io.BytesIO(file), formats=_FORMATS) as image:
        tiled: Any = image
        tiled.tile = [
            tile._replace(args=(raw_mode, *tile.args[1:]) if isinstance(tile.args, tuple) else raw_mode)
            for tile in tiled.tile
        ]
        return image.copy()
