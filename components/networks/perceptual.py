"""Perceptual distances: LPIPS, and a named stand-in where the weights of its backbone are not to be had."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.networks.backbones import load_features
from components.weights import fetch as weights

if TYPE_CHECKING:
    from collections.abc import Mapping

_FEATURES = (0, 1, 2, 3)
_VGG_FEATURES = "features."


class PerceptualDistance(nn.Module):
    """Mean squared distance of unit-length features over strides 2 to 16, per image.

    LPIPS's form (Zhang et al., 2018) without its learned channel weights: the values are not on LPIPS's scale.
    """

    name = "EfficientNet-Lite0 feature distance (stand-in for LPIPS)"

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


class Lpips(nn.Module):
    """LPIPS (Zhang et al., 2018) on VGG16: torchmetrics' network and learned heads, the backbone by reference."""

    name = "LPIPS (VGG16)"

    def __init__(self, backbone: str) -> None:
        """Build the network.

        Args:
            backbone: reference to torchvision's VGG16 weights.

        Raises:
            InputError: the weights are missing or do not fit.
        """
        from torchmetrics.functional.image.lpips import _LPIPS

        super().__init__()
        self._network = _LPIPS(pretrained=True, net="vgg", pnet_rand=True)
        tensors = weights.load_tensors(weights.fetch(backbone))
        weights.load_into(self._network.net, _by_slice(self._network.net, tensors), backbone.partition("#")[0])
        self._network.eval().requires_grad_(False)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Distances [n] of images and targets [n, 3, height, width] in [-1, 1]."""
        distances: Tensor = self._network(images, targets)
        return distances.flatten()


Perceptual = PerceptualDistance | Lpips
"""Distances [n] of images and targets [n, 3, height, width] in [-1, 1], with gradients for the images; `name` says what
measures."""


def _by_slice(network: nn.Module, tensors: "Mapping[str, Tensor]") -> dict[str, Tensor]:
    """VGG16's convolutions under torchmetrics' names: `features.5.weight` is `slice2.5.weight`; no classifier."""
    slices = {key.split(".", 1)[1]: key for key in network.state_dict()}
    convolutions = {key.removeprefix(_VGG_FEATURES): value for key, value in tensors.items() if _VGG_FEATURES in key}
    return {slices.get(name, _VGG_FEATURES + name): value for name, value in convolutions.items()}


def _distance(received: Tensor, expected: Tensor) -> Tensor:
    difference = functional.normalize(received, dim=1) - functional.normalize(expected, dim=1)
    return difference.square().sum(dim=1).mean(dim=(1, 2))
