"""Patch features of EfficientNet-Lite0, by which images are compared without training a detector."""

from typing import TYPE_CHECKING

from components.compute import device, placed
from components.networks.backbones import IMAGE_MEAN, IMAGE_STD, load_features

if TYPE_CHECKING:
    from torch import Tensor

BACKBONE = "efficientnet-lite0"
"""Name, in the weights manifest, of the network."""

MOST_SIDE = 256
"""Longest side in pixels of images that are `reduced`."""

STRIDE = 8
"""Pixels between patches of `PatchNetwork.fine`."""

_LEVELS = (2, 3)
_BATCH = 8
_QUERY_ROWS, _BANK_ROWS = 512, 1024


class PatchNetwork:
    """The network's features of stride 8 and 16 side by side, 152 of each patch."""

    def __init__(self) -> None:
        """Load the network; `InputError` where its package is not installed."""
        from components.networks.folding import folded

        self._network = placed(folded(load_features(BACKBONE, _LEVELS)))

    def coarse(self, images: "Tensor") -> "Tensor":
        """Features [n, p, 152] of patches of 16 x 16 pixels of images [n, 3, height, width] in [0, 1]."""
        import torch
        from torch.nn import functional

        with torch.inference_mode():
            fine, coarse = self._levels(images)
            pooled = functional.avg_pool2d(fine, 2, ceil_mode=True)
            return torch.cat([pooled, coarse], dim=1).flatten(2).transpose(1, 2).contiguous()

    def fine(self, images: "Tensor") -> "Tensor":
        """As `coarse`, of patches of 8 x 8 pixels, each averaged with its neighbours as PatchCore's are."""
        import torch
        from torch.nn import functional

        found = []
        with torch.inference_mode():
            for batch in torch.split(images, _BATCH):
                fine, coarse = (functional.avg_pool2d(level, 3, 1, 1) for level in self._levels(batch))
                enlarged = functional.interpolate(coarse, fine.shape[-2:], mode="bilinear")
                found.append(torch.cat([fine, enlarged], dim=1).flatten(2).transpose(1, 2).contiguous())
        return torch.cat(found)

    def _levels(self, images: "Tensor") -> "list[Tensor]":
        import torch

        mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
        found: list[Tensor] = self._network(((images - mean) / std).to(device()))
        return found


def nearest_distances(patches: "Tensor", references: "Tensor") -> "Tensor":
    """Distance [r, p] of each of some patches [p, dim] to the nearest one of each image, whose patches are [r, q, dim].

    Squared distances by a product of matrices; rounding can make them negative.
    """
    products = references @ patches.T
    squares = references.square().sum(dim=2, keepdim=True) - 2 * products
    return (squares.amin(dim=1) + patches.square().sum(dim=1)).clamp(min=0).sqrt()


def distances_to(bank: "Tensor", patches: "Tensor") -> "Tensor":
    """Distances [n] of patches [n, dim] to the nearest of a bank [m, dim], by a matrix product for each pair of blocks.

    Both are taken from the mean of the bank: the shorter they are, the less is lost where large squares cancel.
    """
    import torch

    center = bank.mean(dim=0)
    kept = bank - center
    squares = kept.square().sum(dim=1)
    found = []
    for start in range(0, len(patches), _QUERY_ROWS):
        block = patches[start : start + _QUERY_ROWS] - center
        nearest = [
            torch.addmm(squares[place : place + _BANK_ROWS], block, kept[place : place + _BANK_ROWS].T, alpha=-2).amin(
                dim=1
            )
            for place in range(0, len(kept), _BANK_ROWS)
        ]
        found.append(torch.stack(nearest).amin(dim=0) + block.square().sum(dim=1))
    return torch.cat(found).clamp_min(0).sqrt()


def reduced(images: "Tensor") -> "Tensor":
    """Images [..., height, width] whose longer side is `MOST_SIDE` pixels at most, so that comparing has a bound."""
    from torchvision.transforms.v2 import functional

    longest = max(images.shape[-2:])
    if longest <= MOST_SIDE:
        return images
    smaller: Tensor = functional.resize(images, [round(side * MOST_SIDE / longest) for side in images.shape[-2:]])
    return smaller


def inside_masks(masks: "Tensor") -> "Tensor":
    """Which patches [n, p] of `PatchNetwork.fine` lie inside masks [n, 1, height, width] in [0, 1].

    Those that are covered by half, or, of a smaller mask, as much as any patch is.
    """
    from torch.nn import functional

    height, width = (-(-side // STRIDE) for side in masks.shape[-2:])
    shares = functional.adaptive_avg_pool2d(masks, (height, width)).flatten(1)
    most = shares.amax(dim=1, keepdim=True).clamp(min=1e-6)
    return shares >= most.clamp(max=0.5)
