"""What everything that computes with torch shares: device, seeds, and rotation of images."""

import random
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Network = TypeVar("Network", bound="torch.nn.Module")


def device() -> "torch.device":
    """`cuda` when there is one, else `cpu`."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def placed(network: Network) -> Network:
    """A convolutional network on the device, in channels-last: the faster memory format."""
    import torch

    return network.to(device(), memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for deterministic algorithms."""
    import numpy as np
    import torch

    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def rotate(images: "Tensor", degrees: float) -> "Tensor":
    """Rotate images [..., 3, height, width] about their centre; the corners show the mirrored border, not black.

    Multiples of 90 degrees of square images are exact.
    """
    import torch
    from torchvision.transforms.v2 import InterpolationMode, functional

    height, width = images.shape[-2:]
    quarters, rest = divmod(degrees, 90)
    if rest == 0 and height == width:
        return torch.rot90(images, int(quarters), dims=(-2, -1))
    margin = [width // 4, height // 4]
    padded = functional.pad(images, margin, padding_mode="reflect")
    rotated = functional.rotate(padded, degrees, InterpolationMode.BILINEAR)
    cropped: Tensor = functional.center_crop(rotated, [height, width])
    return cropped
