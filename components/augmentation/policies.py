"""Augmentation policies on uint8 images [3, height, width], drawn from torch's global generator."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from components.compute import rotate

if TYPE_CHECKING:
    from torch import Tensor

    Augmentation = Callable[[Tensor], Tensor]

MAX_SHIFT = 0.008
"""Largest move of the photometric policy, as a share of the side: two pixels of 256."""


def make_policy(name: str, strength: float, size: int) -> "Augmentation":
    """Augmentation of a policy for images of `size` x `size` pixels."""
    return _POLICIES[name](strength, size)


def _photometric(strength: float, size: int) -> "Augmentation":
    import torch
    from torchvision.transforms import v2

    jitter = 0.12 * strength
    transform: Augmentation = v2.Compose(
        [
            v2.RandomCrop(size, padding=round(MAX_SHIFT * size * strength), padding_mode="reflect"),
            v2.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter, hue=0.01 * strength),
            v2.RandomApply([v2.GaussianBlur(3, sigma=(0.1, 0.1 + 0.5 * strength))], p=0.5 if strength else 0.0),
            v2.ToDtype(torch.float32, scale=True),
            v2.GaussianNoise(sigma=0.01 * strength),
            v2.ToDtype(torch.uint8, scale=True),
        ]
    )
    return transform


def _autoaugment(strength: float, size: int) -> "Augmentation":
    from torchvision.transforms import v2

    return v2.AutoAugment()  # type: ignore[no-any-return]


def _randaugment(strength: float, size: int) -> "Augmentation":
    from torchvision.transforms import v2

    return v2.RandAugment(magnitude=min(30, round(9 * strength)))  # type: ignore[no-any-return]


def _rotations(strength: float, size: int) -> "Augmentation":
    import torch

    def augment(image: "Tensor") -> "Tensor":
        return rotate(image, float(torch.rand(()) * 360))

    return augment


_POLICIES: "dict[str, Callable[[float, int], Augmentation]]" = {
    "photometric": _photometric,
    "autoaugment": _autoaugment,
    "randaugment": _randaugment,
    "rotations": _rotations,
}
