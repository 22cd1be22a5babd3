"""Perceptual distance on EfficientNet-Lite0 features, where LPIPS's VGG weights are not to be had."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.backbones import load_features

NAME = "EfficientNet-Lite0 feature distance (stand-in for LPIPS)"
_FEATURES = (0, 1, 2, 3)


class PerceptualDistance(nn.Module):
    """Mean squared distance of unit-length features over strides 2 to 16, per image.

    LPIPS's form (Zhang et al., 2018) without its learned channel weights: the values are not on LPIPS's scale.
    """

    def __init__(self) -> None:
        """Load the backbone.

        Raises:
            InputError: the backbone's package is not installed.
        """
        super().__init__()
        self._features = load_features("efficientnet-lite0", _FEATURES)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Distances [n] of images and targets [n, 3, height, width] in [-1, 1], the backbone's own range."""
        with torch.no_grad():
            expected = self._features(targets)
        received = self._features(images)
        distances = [_distance(*maps) for maps in zip(received, expected, strict=True)]
        return torch.stack(distances).mean(dim=0)


def _distance(received: Tensor, expected: Tensor) -> Tensor:
    difference = functional.normalize(received, dim=1) - functional.normalize(expected, dim=1)
    return difference.square().sum(dim=1).mean(dim=(1, 2))
