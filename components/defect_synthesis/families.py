"""The families of synthetic defects: each changes a region of a part, and says which."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from components.defect_synthesis.part import Part, perlin_noise

if TYPE_CHECKING:
    from components.artifacts import BoolMask
    from components.defect_synthesis.part import Floats

    Family = Callable[[Part], tuple[Floats, BoolMask]]

_PHOTOGRAPHS = ("brick", "grass", "gravel")
"""Textures that scikit-image ships."""
_JITTER = 0.1
"""Of the brightness, contrast and colours of a pasted piece, as in CutPaste."""


def cut_paste(part: Part) -> "tuple[Floats, BoolMask]":
    """A rectangle of the image pasted in another place of it, with its colours jittered (Li et al., 2021, CutPaste)."""
    ratio = float(np.exp(part.generator.uniform(np.log(0.3), np.log(3.3))))
    side, target = part.diameter(1.3), part.point()
    mask = part.rectangle(target, side * np.sqrt(ratio), side / np.sqrt(ratio))
    return _over(part, _jittered(part, part.moved(target, part.point())), mask), mask


def scar(part: Part) -> "tuple[Floats, BoolMask]":
    """A long, thin rectangle of the image pasted in another place at an angle (Li et al., 2021, CutPaste-Scar)."""
    length, target = part.diameter(1.2), part.point()
    degrees = float(part.generator.uniform(-45, 45) + part.generator.choice([0, 90]))
    width = max(2.0, length * part.generator.uniform(0.1, 0.3))
    mask = part.rectangle(target, width, length, degrees)
    return _over(part, _jittered(part, part.moved(target, part.point(), degrees)), mask), mask


def texture(part: Part) -> "tuple[Floats, BoolMask]":
    """A foreign texture in the shape of Perlin noise, more or less opaque (Zavrtanik et al., 2021, DRAEM)."""
    diameter = part.diameter(1.5)
    noise = perlin_noise(part.shape, max(part.shape) / diameter * 1.5, part.generator)
    window = part.blob(diameter * 1.5)
    mask = window & part.foreground & (noise > np.quantile(noise[window], 0.5))
    opacity = part.generator.uniform(0.3, 1)
    return _over(part, _foreign(part), mask, opacity), mask


def blot(part: Part) -> "tuple[Floats, BoolMask]":
    """A dark or light stain with a soft edge."""
    mask = part.blob(part.diameter())
    tint = part.generator.uniform(0, 1, size=3) * part.generator.choice([0.2, 1])
    return _over(part, np.broadcast_to(tint, part.image.shape), mask, part.generator.uniform(0.3, 0.8), soft=1.5), mask


def scratch(part: Part) -> "tuple[Floats, BoolMask]":
    """A bent line of one to a few pixels' width, brighter or darker than what it crosses."""
    length = part.diameter(2.5)
    rows, columns = part.offsets(part.point(), float(part.generator.uniform(0, 180)))
    bend = part.generator.uniform(-0.2, 0.2) * length
    width = max(1.0, part.generator.uniform(0.004, 0.012) * max(part.shape))
    line = np.abs(rows - bend * (2 * columns / length) ** 2) <= width
    mask = line & (np.abs(columns) <= length / 2)
    change = part.generator.choice([-1, 1]) * part.generator.uniform(0.15, 0.4)
    return _over(part, (part.image + change).clip(0, 1), mask, soft=0.5), mask


def missing(part: Part) -> "tuple[Floats, BoolMask]":
    """A piece of the part that is not there: what surrounds it shows in its place."""
    mask = part.blob(part.diameter()) & part.foreground
    return _over(part, part.filled(mask), mask, soft=0.5), mask


def shifted(part: Part) -> "tuple[Floats, BoolMask]":
    """A piece of the part a little beside its place, and the gap that it leaves."""
    centre, diameter = part.point(), part.diameter(1.2)
    piece = part.blob(diameter, centre)
    angle, distance = part.generator.uniform(0, 2 * np.pi), max(2.0, part.generator.uniform(0.2, 0.6) * diameter)
    move = distance * np.array([np.sin(angle), np.cos(angle)])
    positions = np.rint(np.indices(part.shape) - move[:, None, None]).astype(int)
    inside = np.all((positions >= 0) & (positions < np.array(part.shape)[:, None, None]), axis=0)
    rows, columns = (index.clip(0, limit - 1) for index, limit in zip(positions, part.shape, strict=True))
    placed = piece[rows, columns] & inside
    image = _over(part, part.filled(piece), piece, soft=0.5)
    image = np.where(placed[..., None], part.image[rows, columns], image)
    return image, piece | placed


def blur(part: Part) -> "tuple[Floats, BoolMask]":
    """A region out of focus."""
    from scipy.ndimage import gaussian_filter

    diameter = part.diameter(1.3)
    mask = part.blob(diameter)
    sigma = max(1.0, part.generator.uniform(0.05, 0.15) * diameter)
    return _over(part, gaussian_filter(part.image, (sigma, sigma, 0)), mask, soft=1), mask


def colour(part: Part) -> "tuple[Floats, BoolMask]":
    """A region of the part in another colour, by a gain and an offset of each channel."""
    mask = part.blob(part.diameter(1.3)) & part.foreground
    gains = part.generator.uniform(0.6, 1.4, size=3)
    offsets = part.generator.uniform(-0.1, 0.1, size=3)
    return _over(part, (part.image * gains + offsets).clip(0, 1), mask, soft=1.5), mask


DRAWN: "Mapping[str, Family]" = {
    function.__name__: function
    for function in (cut_paste, scar, texture, blot, scratch, missing, shifted, blur, colour)
}
"""Draws a defect on a part: the image in [0, 1] and the mask of the changed region, by the family's name."""


def _over(part: Part, content: "Floats", mask: "BoolMask", opacity: float = 1.0, soft: float = 0.0) -> "Floats":
    """An image [height, width, 3] laid over the part's where a mask is set, with an edge of `soft` pixels."""
    from scipy.ndimage import gaussian_filter

    alpha = mask.astype(np.float32)
    alpha = opacity * (np.minimum(alpha, gaussian_filter(alpha, soft) * 1.5) if soft else alpha)[..., None]
    laid: Floats = ((1 - alpha) * part.image + alpha * content).astype(np.float32)
    return laid


def _jittered(part: Part, content: "Floats") -> "Floats":
    """An image with other brightness, contrast and colours."""
    contrast, brightness = part.generator.uniform(1 - _JITTER, 1 + _JITTER, size=2)
    tint = part.generator.uniform(1 - _JITTER / 2, 1 + _JITTER / 2, size=3)
    mean = content.mean()
    jittered: Floats = (((content - mean) * contrast + mean) * brightness * tint).clip(0, 1).astype(np.float32)
    return jittered


def _foreign(part: Part) -> "Floats":
    """A piece of a photographed texture [height, width, 3], turned, tinted and as coarse as drawn."""
    from scipy.ndimage import zoom

    photograph = _photograph(str(part.generator.choice(_PHOTOGRAPHS)))
    side = int(part.generator.integers(128, photograph.shape[0] + 1))
    row, column = part.generator.integers(0, photograph.shape[0] - side + 1, size=2)
    piece = np.rot90(photograph[row : row + side, column : column + side], int(part.generator.integers(4)))
    grey = zoom(piece, [length / side for length in part.shape], order=1)[: part.shape[0], : part.shape[1]]
    tinted: Floats = (grey[..., None] * part.generator.uniform(0.5, 1.5, size=3)).clip(0, 1).astype(np.float32)
    return tinted


@cache
def _photograph(name: str) -> "Floats":
    """A square grey photograph in [0, 1]."""
    from skimage import data

    photograph: Floats = (getattr(data, name)() / 255.0).astype(np.float32)
    return photograph
