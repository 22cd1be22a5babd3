"""DINOv2's vision transformers (Oquab et al., 2024), built without a download."""

from collections.abc import Sequence

import timm
import torch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn
from torch.nn import functional

from components.errors import check
from components.networks.backbones import IMAGENET_MEAN, IMAGENET_STD, VITS
from components.weights import fetch as weights

_PATCH = 14


class DinoEncoder(nn.Module):
    """Images [n, 3, side, side] in [0, 1] to tokens of transformer blocks; it never trains.

    The images are resized to the nearest multiple of 14 pixels, so that no border is lost.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        vit: str,
        reference: str,
        image_size: int,
        blocks: Sequence[int],
        *,
        norm: bool,
        pretrained: bool = True,
    ) -> None:
        """Build the transformer.

        Args:
            vit: key of `VITS`.
            reference: its weights, under the names of the authors' files or timm's.
            image_size: side of the images in pixels.
            blocks: indices of the blocks whose tokens are returned; negative ones count from the last.
            norm: whether the final normalisation is applied to them.
            pretrained: False leaves the tensors as they are, for a state that is loaded later.

        Raises:
            InputError: the weights are missing or do not fit.
        """
        super().__init__()
        self.grid = round(image_size / _PATCH)
        self.side = self.grid * _PATCH
        self.body = timm.create_model(VITS[vit], pretrained=False, img_size=self.side, num_classes=0)
        if pretrained:
            name = reference.partition("#")[0]
            tensors = weights.load_tensors(weights.fetch(reference))
            known = {"pos_embed", "patch_embed.proj.weight"} <= tensors.keys()
            check(known, "detection.vit_weights", name, "tensors of DINOv2 under the names of its authors or of timm")
            weights.load_into(self.body, checkpoint_filter_fn(tensors, self.body), name)
        depth = len(self.body.blocks)
        self.blocks = [block % depth for block in blocks]
        self.norm = norm
        self.prefix: int = self.body.num_prefix_tokens
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(3, 1, 1))
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "DinoEncoder":
        """Stay in evaluation mode."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Tokens [n, prefix + grid², dim] of each block: class token and registers first; without gradients."""
        sized = functional.interpolate(images, size=(self.side, self.side), mode="bilinear", align_corners=False)
        with torch.no_grad():
            found = self.body.forward_intermediates(
                (sized - self.mean) / self.std,
                indices=self.blocks,
                return_prefix_tokens=True,
                norm=self.norm,
                output_fmt="NLC",
                intermediates_only=True,
            )
        return [torch.cat([prefix, patches], dim=1) for patches, prefix in found]
