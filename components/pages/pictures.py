"""Pictures of HTML pages as data URIs: contact sheets, thumbnails, heatmaps."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from components.artifacts import BoolMask, UInt8Image

_SIDE = 160
_COLUMNS = 8
MOST_SHOWN = 2 * _COLUMNS
"""Images of a contact sheet."""
_GAP = 6
_JPEG_QUALITY = 88
_HEAT_OPACITY = 0.55
_MASK_COLOUR = (0, 230, 118)


def contact_sheet(images: Sequence["UInt8Image"]) -> str:
    """Data URI of up to two rows of eight thumbnails of images [height, width, 3]."""
    shown = [_thumbnail(image) for image in images[:MOST_SHOWN]]
    columns = min(len(shown), _COLUMNS)
    rows = -(-len(shown) // columns)
    size = columns * (_SIDE + _GAP) - _GAP, rows * (_SIDE + _GAP) - _GAP
    sheet = Image.new("RGB", size, "white")
    for index, thumbnail in enumerate(shown):
        row, column = divmod(index, columns)
        sheet.paste(thumbnail, (column * (_SIDE + _GAP), row * (_SIDE + _GAP)))
    return data_uri(sheet)


def thumbnail_uri(image: "UInt8Image") -> str:
    """Data URI of one thumbnail."""
    return data_uri(_thumbnail(image))


def heatmap_uri(
    image: "UInt8Image",
    anomaly_map: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
    low: float,
    high: float,
    mask: "BoolMask | None",
) -> str:
    """Data URI of an image [height, width, 3] under its anomaly map [height, width], the mask's outline in green.

    Of the map, `low` is shown as the coldest and `high` as the hottest colour.
    """
    from matplotlib import colormaps
    from skimage.segmentation import find_boundaries

    scaled = ((anomaly_map - low) / max(high - low, 1e-12)).clip(0, 1)
    heat = colormaps["inferno"](scaled)[..., :3] * 255
    blended = ((1 - _HEAT_OPACITY) * image + _HEAT_OPACITY * heat).astype(np.uint8)
    if mask is not None:
        blended[find_boundaries(mask, mode="thick")] = _MASK_COLOUR
    return data_uri(_thumbnail(blended))


def side_by_side(*uris: str) -> bytes:
    """JPEG of the pictures of data URIs, all of one size, in a row."""
    shown = [Image.open(io.BytesIO(uri_content(uri))) for uri in uris]
    row = Image.new("RGB", (sum(picture.width for picture in shown), shown[0].height), "white")
    for index, picture in enumerate(shown):
        row.paste(picture, (index * picture.width, 0))
    return _jpeg(row)


def data_uri(picture: Image.Image) -> str:
    """JPEG of a picture as a data URI."""
    return f"data:image/jpeg;base64,{base64.b64encode(_jpeg(picture)).decode()}"


def uri_content(uri: str) -> bytes:
    """File content of a data URI."""
    return base64.b64decode(uri.partition(",")[2])


def _jpeg(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()


def _thumbnail(image: "UInt8Image") -> Image.Image:
    return Image.fromarray(image).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
