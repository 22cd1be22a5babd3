"""The images of a prediction request, in any of the forms that the registered model takes."""

import base64
import binascii
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.decode import scaled
from components.errors import InputError
from components.preprocessing.transform import FULL_DEPTH, Preprocessing

if TYPE_CHECKING:
    import numpy.typing as npt

    from components.artifacts import UInt8Image

MAX_IMAGES = 256
"""Most images of one request: it bounds the memory that a small request can ask for."""


def read_images(items: "npt.NDArray[Any]", preprocessing: Preprocessing) -> "list[UInt8Image]":
    """RGB images [height, width, 3] of a request as a detector sees them, treated as in the stage `dataset`.

    The items [n] are encoded images (bytes, base64 text, or a `Path`) or arrays [height, width, 3], values from 0 to
    255; or these arrays in one, [n, height, width, 3]. Arrays of the type uint16 hold the bits of the detector's data
    set (of 16 bits, where one of their values is above 255). Text is never a path, so that a request to a server cannot
    read its files. Raises `InputError` where there are no or too many images, or one is none of these, too large, or
    does not fit crop and proportions.
    """
    if items.ndim == 0:
        raise InputError(f"images: got one {type(items.item()).__name__}, expected a list of images")
    if not 1 <= len(items) <= MAX_IMAGES:
        raise InputError(f"images: got {len(items)}, expected 1 to {MAX_IMAGES} in a request")
    return [_read_image(item, preprocessing, f"image {index}") for index, item in enumerate(items)]


def _read_image(item: Any, preprocessing: Preprocessing, name: str) -> "UInt8Image":
    import numpy as np

    if isinstance(item, str):
        try:
            item = base64.b64decode(item, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InputError(f"{name}: not base64 ({error}), expected an encoded image as base64 text") from error
    if isinstance(item, Path) and not item.is_file():
        raise InputError(f"{name}: no file at {item}")
    if isinstance(item, bytes | Path):
        return preprocessing.read(item, name).pixels
    try:
        pixels = np.asarray(item)
        pixels = np.asarray(pixels.tolist()) if pixels.dtype.hasobject else pixels
    except ValueError as error:
        raise InputError(f"{name}: rows of different lengths, expected [height, width, 3]") from error
    if pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
        raise InputError(f"{name}: got shape {list(pixels.shape)}, expected [height, width, 3]")
    if pixels.dtype.kind not in "ui":
        raise InputError(f"{name}: got values of type {pixels.dtype}, expected whole numbers from 0 to 255")
    if pixels.dtype == np.uint16 and (preprocessing.bit_depth < FULL_DEPTH or pixels.max() > 255):
        return preprocessing.place(scaled(pixels, preprocessing.bit_depth), name)
    if pixels.min() < 0 or pixels.max() > 255:
        raise InputError(f"{name}: got values from {pixels.min()} to {pixels.max()}, expected 0 to 255")
    return preprocessing.place(pixels.astype(np.uint8), name)
