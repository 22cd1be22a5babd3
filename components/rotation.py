"""Rotation of images without black corners."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def rotate(images: "Tensor", degrees: float) -> "Tensor":
    """Rotate images [..., 3, height, width] about their centre; the corners show the mirrored border.

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
