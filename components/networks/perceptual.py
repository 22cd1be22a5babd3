"""Distances of images: PSNR, LPIPS, and a named substitute for LPIPS where its backbone's weights are unavailable."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from components.networks.backbones import load_features
from components.networks.folding import folded
from components.weights.fetch import fetch, load_into, load_tensors


class PerceptualDistance(nn.Module):
    """Mean squared distance of unit-length features over strides 2 to 16, per image.

    LPIPS's form (Zhang et al., 2018) without its learned channel weights: the values are not on LPIPS's scale.
    """

    name = "EfficientNet-Lite0 feature distance (substitute for LPIPS)"

    def __init__(self) -> None:
        """Load the backbone; `InputError` where its package is not installed."""
        super().__init__()
        self._features = folded(load_features("efficientnet-lite0", (0, 1, 2, 3)))

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Distances [n] of images and targets [n, 3, height, width] in [-1, 1], the backbone's own range."""
        with torch.no_grad():
            expected = self._features(targets)
        received = self._features(images)
        distances = []
        for own, target in zip(received, expected, strict=True):
            difference = functional.normalize(own.float(), dim=1) - functional.normalize(target.float(), dim=1)
            distances.append(difference.square().sum(dim=1).mean(dim=(1, 2)))
        return torch.stack(distances).mean(dim=0)


class Lpips(nn.Module):
    """LPIPS (Zhang et al., 2018) on VGG16: torchmetrics' network and learned heads, the backbone by reference."""

    name = "LPIPS (VGG16)"

    def __init__(self, backbone: str) -> None:
        """Load torchvision's VGG16 weights by reference; `InputError` where they are missing or do not fit."""
        from torchmetrics.functional.image.lpips import _LPIPS

        super().__init__()
        self._network = _LPIPS(pretrained=True, net="vgg", pnet_rand=True)
        # VGG16's convolutions under torchmetrics' names: `features.5.weight` is `slice2.5.weight`; no classifier.
        slices = {key.split(".", 1)[1]: key for key in self._network.net.state_dict()}
        tensors = {
            slices.get(name.removeprefix("features."), name): value
            for name, value in load_tensors(fetch(backbone)).items()
            if "features." in name
        }
        load_into(self._network.net, tensors, backbone.partition("#")[0])
        self._network.eval().requires_grad_(False)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Distances [n] of images and targets [n, 3, height, width] in [-1, 1]."""
        distances: Tensor = self._network(images, targets)
        return distances.flatten()


Perceptual = PerceptualDistance | Lpips
"""Distances [n] of images and targets [n, 3, height, width] in [-1, 1], with gradients for the images; reports show its
`name`."""


def psnr(images: Tensor, targets: Tensor) -> Tensor:
    """PSNR [n] in dB of images and targets [n, 3, height, width] in [0, 1]; infinite for equal images."""
    return -10 * (images - targets).square().mean(dim=(1, 2, 3)).log10()
