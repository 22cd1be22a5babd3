"""Contact sheets as pictures: groups of images with captions, under headings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from components.artifacts import UInt8Image

_SIDE = 200
_COLUMNS = 5
_GAP = 12
_CAPTION = 14
_HEADING = 20
_ROW = _SIDE + _CAPTION + 2 * _GAP


@dataclass(frozen=True, kw_only=True)
class Group:
    """Images under a heading."""

    heading: str
    images: Sequence["UInt8Image"]
    """RGB [height, width, 3], shown in their proportions."""
    captions: Sequence[str]
    """One line for each image; what does not fit is left out in the middle."""


def draw_sheet(groups: Sequence[Group]) -> Image.Image:
    """One picture of all groups, five images a row, 1,072 pixels wide."""
    shown = [group for group in groups if group.images]
    rows = [-(-len(group.images) // _COLUMNS) for group in shown]
    height = _GAP + sum(_HEADING + _GAP + count * _ROW for count in rows)
    sheet = Image.new("RGB", (_GAP + _COLUMNS * (_SIDE + _GAP), height), "white")
    top = _GAP
    for group, count in zip(shown, rows, strict=True):
        _draw_group(sheet, group, top)
        top += _HEADING + _GAP + count * _ROW
    return sheet


def _draw_group(sheet: Image.Image, group: Group, top: int) -> None:
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_CAPTION)
    draw.text((_GAP, top), group.heading, "black", ImageFont.load_default(_HEADING))
    for index, (image, caption) in enumerate(zip(group.images, group.captions, strict=True)):
        row, column = divmod(index, _COLUMNS)
        left, upper = _GAP + column * (_SIDE + _GAP), top + _HEADING + _GAP + row * _ROW
        picture = Image.fromarray(image)
        scale = _SIDE / max(picture.size)
        picture = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.LANCZOS)
        sheet.paste(picture, (left + (_SIDE - picture.width) // 2, upper + (_SIDE - picture.height) // 2))
        draw.text((left, upper + _SIDE + _GAP // 2), _fitting(caption, font), "black", font)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """A text that is no wider than an image: its start and its end."""
    if font.getlength(text) <= _SIDE:
        return text
    kept = len(text)
    while font.getlength(_shortened(text, kept)) > _SIDE:
        kept -= 1
    return _shortened(text, kept)


def _shortened(text: str, kept: int) -> str:
    start = kept // 2
    return f"{text[:start]}...{text[len(text) - (kept - start) :]}"
