"""Layers of diffusers' VQModel that give the same values sooner on a processor.

Parameters keep their names and shapes, so that weights fit both forms. Values differ by rounding.
"""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

if TYPE_CHECKING:
    from diffusers import VQModel

_VECTOR = 8
"""Channels of a group from which torch's own gradient in channels-last uses the whole width of the vector units."""
_ROW = 2048
"""Values that a row of the gradient's passes holds at most, so that coefficients repeat seldom."""


def quicken(model: "VQModel") -> None:
    """Put the layers of this module in the place of the model's own."""
    from diffusers.models.upsampling import Upsample2D

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Upsample2D) and isinstance(child.conv, nn.Conv2d):
                setattr(module, name, UpsamplingConvolution(child.conv))
            elif type(child) is nn.GroupNorm:
                setattr(module, name, _normalisation(child))


class UpsamplingConvolution(nn.Module):
    """Nearest neighbours at twice the size, then a 3 x 3 convolution, as one transposed convolution.

    Each output pixel sees 2 x 2 different input pixels, so that 4 products do what 9 did (Shi et al., "Is the
    deconvolution layer the same as a convolutional layer?", 2016), and nothing of twice the size is stored between.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        """Take the parameters of a convolution with a 3 x 3 kernel, padding 1 and stride 1."""
        super().__init__()
        self.conv = convolution

    def forward(self, images: Tensor, *_: Any) -> Tensor:
        """Maps [n, out, 2 h, 2 w] of maps [n, c, h, w]."""
        kernel = self.conv.weight.flip(2, 3).transpose(0, 1)
        moved = (functional.pad(kernel, (right, 1 - right, down, 1 - down)) for down in (0, 1) for right in (0, 1))
        return functional.conv_transpose2d(images, sum(moved, torch.zeros(())), self.conv.bias, stride=2, padding=1)


class NarrowGroupNorm(nn.GroupNorm):
    """GroupNorm whose gradient is quick for groups of a few channels in channels-last, where torch's is not."""

    def forward(self, images: Tensor) -> Tensor:
        """Normalised maps [n, c, h, w]."""
        if images.is_cuda or not images.requires_grad or not images.is_contiguous(memory_format=torch.channels_last):
            return super().forward(images)
        normalised: Tensor = _Normalise.apply(images, self.weight, self.bias, self.num_groups, self.eps)
        return normalised


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float) -> Tensor:
        number, channels, height, width = images.shape
        sizes = (number, channels, height * width, groups, eps)
        normalised, mean, rstd = torch.native_group_norm(images, weight, bias, *sizes)
        ctx.save_for_backward(images, weight, mean, rstd)
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, received: Tensor) -> tuple[Tensor | None, ...]:
        """Of y = (x - mean) rstd weight + bias: dx = own dy + slope x + offset, the coefficients by image and channel.

        Rows hold as many pixels as fit, so that a pass handles coefficients of some thousand values at once.
        """
        images, weight, mean, rstd = ctx.saved_tensors
        number, channels, height, width = images.shape
        pixels = height * width
        together = math.gcd(pixels, max(1, _ROW // channels))
        shape = (number, pixels // together, together * channels)
        exact = torch.promote_types(images.dtype, torch.float32)
        inputs, gradients = (maps.permute(0, 2, 3, 1).reshape(shape).to(exact) for maps in (images, received))

        def by_channel(rows: Tensor) -> Tensor:
            return rows.sum(1).view(number, together, channels).sum(1)

        sums, products = by_channel(gradients), by_channel(gradients * inputs)
        mean, rstd = mean.unsqueeze(-1), rstd.unsqueeze(-1)
        grouped = (number, mean.shape[1], -1)
        own = rstd * weight.view(grouped[1:])
        size = pixels * own.shape[-1]
        weighted, correlated = ((weight * each).view(grouped).sum(-1, keepdim=True) for each in (sums, products))
        slope = (weighted * mean - correlated) * rstd**3 / size
        offset = -slope * mean - weighted * rstd / size
        rows = (each.expand_as(own).reshape(number, channels).repeat(1, together) for each in (own, slope, offset))
        own_row, slope_row, offset_row = (row.unsqueeze(1) for row in rows)
        result = torch.addcmul(offset_row, inputs, slope_row).addcmul_(gradients, own_row).to(images.dtype)
        of_weight = (rstd * (products.view(grouped) - mean * sums.view(grouped))).view(number, channels).sum(0)
        return result.view(number, height, width, channels).permute(0, 3, 1, 2), of_weight, sums.sum(0), None, None


def _normalisation(layer: nn.GroupNorm) -> nn.GroupNorm:
    """The layer in its quicker form, with the same parameters; itself where torch's form is the quicker one."""
    if layer.num_channels // layer.num_groups >= _VECTOR:
        return layer
    quick = NarrowGroupNorm(layer.num_groups, layer.num_channels, layer.eps)
    quick.weight, quick.bias = layer.weight, layer.bias
    return quick
