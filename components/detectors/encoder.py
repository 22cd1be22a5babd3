"""The frozen ImageNet backbone of the detectors."""

from collections.abc import Sequence

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional

from components.networks.backbones import architecture_of, input_statistics, load_feature_weights


class Encoder(nn.Module):
    """Images [n, 3, height, width] in [0, 1] to feature maps [n, channels, height / stride, width / stride].

    It never trains: its batch normalisation keeps ImageNet's statistics whatever the mode of the model around it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, levels: Sequence[int], *, reference: str = "", pretrained: bool = True) -> None:
        """Build the backbone.

        Args:
            name: see `components.backbones`.
            levels: feature maps that are returned; level i has stride 2 ** (i + 1).
            reference: weights, where the backbone is none of those in installed packages.
            pretrained: False leaves the tensors as they are, for a state that is loaded later.

        Raises:
            InputError: the weights are missing or do not fit.
        """
        super().__init__()
        self.body = timm.create_model(architecture_of(name), pretrained=False, features_only=True, out_indices=levels)
        if pretrained:
            load_feature_weights(self.body, name, reference)
        for key, value in zip(("mean", "std"), input_statistics(name), strict=True):
            self.register_buffer(key, torch.tensor(value).view(3, 1, 1))
        self.channels: list[int] = self.body.feature_info.channels()
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, fine to coarse, without gradients."""
        with torch.no_grad():
            maps: list[Tensor] = self.body((images - self.mean) / self.std)
        return maps


def stacked(maps: Sequence[Tensor]) -> Tensor:
    """Feature maps of several strides as one [n, sum of channels, h, w], in the size of the first."""
    size = maps[0].shape[-2:]
    return torch.cat([maps[0], *(functional.interpolate(map, size=size, mode="bilinear") for map in maps[1:])], dim=1)
