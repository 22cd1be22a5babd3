"""Augmentation policies: what is done to an image by each."""

from collections.abc import Callable, Sequence
from functools import partial, reduce
from itertools import cycle, islice, permutations, product, zip_longest
from typing import TYPE_CHECKING

from components.augmentation.config import (
    AUTOAUGMENT,
    CHANNELS,
    FLIPS,
    HUE,
    RANDAUGMENT,
    ROTATIONS,
    SCALE,
    SHIFTS,
    SMALL_ROTATIONS,
    policy_alternatives,
)
from components.compute import GRID_PHASES, rotate, shift

if TYPE_CHECKING:
    from torch import Tensor

    Augmentation = Callable[[Tensor], Tensor]

MAX_SHIFT = 0.008
"""Largest move of the photometric policy, as a share of the side: two pixels of 256."""
TURNS = 16
"""Angles of the policy `rotations`, evenly over the circle, that of the image itself among them."""
MAX_DEGREES = 5.0
"""Largest turn of the policy `small_rotations`."""
MAX_SCALE = 0.05
"""Largest change of the side by the policy `scale`."""

_FLIPPED_AXES = ((-1,), (-2,), (-2, -1))
_CHANNEL_ORDERS = tuple(permutations(range(3)))[1:]
_DISTINCT = {
    SHIFTS: len(GRID_PHASES),
    FLIPS: len(_FLIPPED_AXES),
    CHANNELS: len(_CHANNEL_ORDERS),
    ROTATIONS: TURNS - 1,
}
"""Number of different images that a policy makes of one, where it is limited."""


def make_augmentations(policy: str, images: int, strength: float, height: int, width: int) -> "list[Augmentation]":
    """What makes each augmentation of a uint8 image [3, height, width], drawn from torch's global generator.

    Policies that are joined by `|` take turns, until each has made `images`, or fewer where it makes no more different
    ones, in an order that is drawn here. What is applied one after the other comes in every combination, also in those
    that leave out a policy that is limited.
    """
    by_policy = [
        _in_turn(_combined(parts, strength, height, width), images, limited=set(parts) <= set(_DISTINCT))
        for parts in policy_alternatives(policy)
    ]
    return [augmentation for turn in zip_longest(*by_policy) for augmentation in turn if augmentation is not None]


def _combined(parts: Sequence[str], strength: float, height: int, width: int) -> "list[Augmentation]":
    """Policies that are applied one after the other, in all combinations of what the limited ones do."""
    moves = [_moves(part, strength, height, width) for part in parts]
    if len(parts) > 1:
        moves = [[_unmoved, *own] if part in _DISTINCT else own for part, own in zip(parts, moves, strict=True)]
    return [partial(_applied, steps) for steps in product(*moves) if any(step is not _unmoved for step in steps)]


def _in_turn(moves: "Sequence[Augmentation]", images: int, *, limited: bool) -> "list[Augmentation]":
    """As many moves as images, each once before any comes again, in an order that is drawn; limited ones once."""
    import torch

    if len(moves) == 1:
        return [moves[0]] * images
    order = cycle([moves[index] for index in torch.randperm(len(moves)).tolist()])
    return list(islice(order, min(images, len(moves)) if limited else images))


def _unmoved(image: "Tensor") -> "Tensor":
    return image


def _applied(steps: "Sequence[Augmentation]", image: "Tensor") -> "Tensor":
    return reduce(lambda made, step: step(made), steps, image)


def _moves(name: str, strength: float, height: int, width: int) -> "list[Augmentation]":
    """The images that a policy of one part makes in turn; of one that draws them, the draw."""
    from torchvision.transforms import v2
    from torchvision.transforms.v2 import functional

    if name in (AUTOAUGMENT, RANDAUGMENT):
        magnitude = min(30, round(9 * strength))
        return [v2.AutoAugment() if name == AUTOAUGMENT else v2.RandAugment(magnitude=magnitude)]
    if name in _DISTINCT:
        return {SHIFTS: _shifts, FLIPS: _flips, CHANNELS: _channels, ROTATIONS: _turns}[name]()
    if name == SMALL_ROTATIONS:
        return [lambda image: rotate(image, MAX_DEGREES * strength * _symmetric())]
    if name == SCALE:
        return [lambda image: scaled(image, 1 + MAX_SCALE * strength * _symmetric())]
    if name == HUE:
        return [lambda image: functional.adjust_hue(image, _symmetric() / 2)]
    assert name == "photometric", name
    return [_photometric(strength, height, width)]


def scaled(image: "Tensor", factor: float) -> "Tensor":
    """The image [3, height, width] enlarged or reduced about its centre; the border mirrors what is in it."""
    from torchvision.transforms.v2 import functional

    height, width = image.shape[-2:]
    own_height, own_width = round(height * factor), round(width * factor)
    resized: Tensor = functional.resize(image, [own_height, own_width], antialias=True)
    if factor < 1:
        top, left = (height - own_height) // 2, (width - own_width) // 2
        margins = [left, top, width - own_width - left, height - own_height - top]
        resized = functional.pad(resized, margins, padding_mode="reflect")
    cropped: Tensor = functional.center_crop(resized, [height, width])
    return cropped


def _shifts() -> "list[Augmentation]":
    return [lambda image, phase=phase: shift(image, *phase) for phase in GRID_PHASES]  # type: ignore[misc]


def _flips() -> "list[Augmentation]":
    return [lambda image, axes=axes: image.flip(axes) for axes in _FLIPPED_AXES]  # type: ignore[misc]


def _channels() -> "list[Augmentation]":
    return [lambda image, order=order: image[list(order)] for order in _CHANNEL_ORDERS]  # type: ignore[misc]


def _turns() -> "list[Augmentation]":
    return [lambda image, turn=turn: rotate(image, turn * 360 / TURNS) for turn in range(1, TURNS)]  # type: ignore[misc]


def _symmetric() -> float:
    """A number between -1 and 1."""
    import torch

    return float(torch.rand(()) * 2 - 1)


def _photometric(strength: float, height: int, width: int) -> "Augmentation":
    import torch
    from torchvision.transforms import v2

    jitter = 0.12 * strength
    policy: Augmentation = v2.Compose(
        [
            v2.RandomCrop((height, width), padding=round(MAX_SHIFT * width * strength), padding_mode="reflect"),
            v2.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter, hue=0.01 * strength),
            v2.RandomApply([v2.GaussianBlur(3, sigma=(0.1, 0.1 + 0.5 * strength))], p=0.5 if strength else 0.0),
            v2.ToDtype(torch.float32, scale=True),
            v2.GaussianNoise(sigma=0.01 * strength),
            v2.ToDtype(torch.uint8, scale=True),
        ]
    )
    return policy
