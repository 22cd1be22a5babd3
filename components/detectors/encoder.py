"""The frozen networks of the detectors: ImageNet backbones, and DINOv2's vision transformers (Oquab et al., 2024)."""

from collections.abc import Callable, Sequence

import timm
import torch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn
from torch.nn import functional

from components.errors import check
from components.networks import backbones
from components.networks.folding import folded
from components.weights.fetch import fetch, load_into, load_tensors

_PATCH = 14


class Encoder(nn.Module):
    """Images [n, 3, height, width] in [0, 1] to feature maps [n, channels, height / stride, width / stride].

    It never trains: its batch normalisation keeps ImageNet's statistics whatever the mode of the model around it.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, levels: Sequence[int], *, reference: str = "", pretrained: bool = True) -> None:
        """Build a backbone of `BACKBONES` or `RESNETS` with maps of some levels; level i has stride 2 ** (i + 1).

        The weights, whose `reference` only `RESNETS` read, are not loaded for a state that replaces them later; those
        that are missing or do not fit raise `InputError`.
        """
        super().__init__()
        self.body = timm.create_model(
            backbones.architecture_of(name), pretrained=False, features_only=True, out_indices=levels
        )
        if pretrained:
            backbones.load_feature_weights(self.body, name, reference)
        for key, value in zip(("mean", "std"), backbones.input_statistics(name), strict=True):
            self.register_buffer(key, torch.tensor(value).view(3, 1, 1))
        self.channels: list[int] = self.body.feature_info.channels()
        self.requires_grad_(False).eval()
        self._folded: list[nn.Module] = []
        self.body.register_load_state_dict_post_hook(lambda *_: self._folded.clear())

    def train(self, mode: bool = True) -> "Encoder":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """The feature maps, fine to coarse, without gradients."""
        traced = torch.jit.is_tracing()  # type: ignore[attr-defined,no-untyped-call]
        network = self.body if traced else self._faster()  # an export is folded by its runtime
        with torch.no_grad():
            maps: list[Tensor] = network((images - self.mean).div_(self.std))
        return maps

    def _faster(self) -> nn.Module:
        if not self._folded:
            with torch.inference_mode(mode=False):
                self._folded.append(folded(self.body))
        return self._folded[0]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Encoder":
        """Move or convert the folded network, no part of the state, with the rest."""
        for network in self._folded:
            network._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return super()._apply(fn, recurse)  # type: ignore[no-any-return,no-untyped-call]


class DinoEncoder(nn.Module):
    """Images [n, 3, side, side] in [0, 1] to tokens of transformer blocks; it never trains.

    The images are resized to the nearest multiple of 14 pixels, so that no border is lost.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, vit: str, reference: str, image_size: int, blocks: Sequence[int], *, norm: bool, pretrained: bool = True
    ) -> None:
        """Build a transformer of `VITS` with the tokens of some blocks, of which negative ones count from the last.

        `norm` applies the final normalisation to them. The weights, under the names of DINOv2's authors or of timm, are
        not loaded for a state that replaces them later; those that are missing or do not fit raise `InputError`.
        """
        super().__init__()
        self.grid = round(image_size / _PATCH)
        self.side = self.grid * _PATCH
        self.body = timm.create_model(backbones.VITS[vit], pretrained=False, img_size=self.side, num_classes=0)
        if pretrained:
            name = reference.partition("#")[0]
            tensors = load_tensors(fetch(reference))
            known = {"pos_embed", "patch_embed.proj.weight"} <= tensors.keys()
            check(known, "detection.vit_weights", name, "tensors of DINOv2 under the names of its authors or of timm")
            # DINOv2's authors resample the position embeddings with antialiasing where there are registers alone.
            fitted = checkpoint_filter_fn(tensors, self.body, antialias=self.body.num_reg_tokens > 0)
            load_into(self.body, fitted, name)
        depth = len(self.body.blocks)
        self.blocks = [block % depth for block in blocks]
        self.norm = norm
        self.prefix: int = self.body.num_prefix_tokens
        self.register_buffer("mean", torch.tensor(backbones.IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(backbones.IMAGENET_STD).view(3, 1, 1))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "DinoEncoder":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Tokens [n, prefix + grid², dim] of each block: class token and registers first; without gradients."""
        sized = functional.interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)
        taken = {"indices": self.blocks, "norm": self.norm, "output_fmt": "NLC", "return_prefix_tokens": True}
        with torch.no_grad():
            normal = (sized - self.mean) / self.std
            found = self.body.forward_intermediates(normal, intermediates_only=True, **taken)
        return [torch.cat([prefix, patches], dim=1) for patches, prefix in found]


def stacked(maps: Sequence[Tensor]) -> Tensor:
    """Feature maps of several strides as one [n, sum of channels, h, w], in the size of the first."""
    size = maps[0].shape[-2:]
    return torch.cat([maps[0], *(functional.interpolate(map, size=size, mode="bilinear") for map in maps[1:])], dim=1)
