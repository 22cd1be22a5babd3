"""The network that IS, FID and KID are defined on: Inception v3 as TensorFlow released it in December 2015.

torchvision's architecture with the differences of that release: average pooling without padding, maximum pooling
in the last block, 1008 classes, TensorFlow 1's bilinear resizing, and pixels as (x - 128) / 128. The tensors have
torchvision's names; torchvision's own weights are of another training, and do not fit.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import inception as parts

from components.compute import device
from components.weights.fetch import fetch, load_into, load_tensors

_SIDE = 299
_CLASSES = 1008
_BATCH = 16


class FidInception(nn.Module):
    """Features and logits of images."""

    name = "Inception v3 (TensorFlow, 2015-12-05)"

    def __init__(self, reference: str) -> None:
        """Build the network and load its weights; `InputError` where they are missing or do not fit."""
        super().__init__()
        self._network = architecture()
        tensors = load_tensors(fetch(reference))
        load_into(self._network, tensors, reference.partition("#")[0])
        self._classes = self._network.fc.weight.detach()
        self._network.fc = nn.Identity()
        self.to(device()).eval().requires_grad_(False)

    @torch.inference_mode()
    def features(self, images: Tensor) -> Tensor:
        """Features [n, 2048] of images [n, 3, height, width] in [0, 1], rounded to bytes as files hold them."""
        pixels = images.mul(255).round()
        resized = (resize_like_tensorflow(batch.to(device()), _SIDE) for batch in torch.split(pixels, _BATCH))
        return torch.cat([self._network((batch - 128) / 128).cpu() for batch in resized])

    def logits(self, features: Tensor) -> Tensor:
        """Logits [n, 1008] of features [n, 2048], without the classes' biases, as IS is computed."""
        return torch.matmul(features, self._classes.cpu().T)


def architecture() -> Any:
    """The network without weights."""
    same_size: dict[str, Any] = {"kernel_size": 3, "stride": 1, "padding": 1}
    average = partial(functional.avg_pool2d, **same_size, count_include_pad=False)
    blocks = [
        parts.BasicConv2d,
        _with_pooling(parts.InceptionA, average),
        parts.InceptionB,
        _with_pooling(parts.InceptionC, average),
        parts.InceptionD,
        _with_pooling(parts.InceptionE, average),
        parts.InceptionAux,
    ]
    network = parts.Inception3(_CLASSES, aux_logits=False, inception_blocks=blocks, init_weights=False)
    network.Mixed_7c = _with_pooling(parts.InceptionE, partial(functional.max_pool2d, **same_size))(2048)
    return network


def resize_like_tensorflow(images: Tensor, side: int) -> Tensor:
    """Images [n, c, height, width] resized to [n, c, side, side] as TensorFlow 1 does.

    Bilinear without antialiasing; output position i takes the value at i * input / output, as if pixels had no centres.
    """

    def weights_of_inputs(size: int) -> Tensor:
        """[side, size]: of the input's positions, for each output position."""
        positions = torch.arange(side, dtype=torch.float64) * (size / side)
        lower = positions.floor().long().clamp(max=size - 1)
        upper = (lower + 1).clamp(max=size - 1)
        share = (positions - lower)[:, None]
        one_hot = torch.eye(size, dtype=torch.float64)
        return ((1 - share) * one_hot[lower] + share * one_hot[upper]).to(images)

    rows, columns = (weights_of_inputs(size) for size in images.shape[2:])
    return torch.einsum("yh,nchw,xw->ncyx", rows, images, columns)


def _with_pooling(block: Any, pool: Any) -> Any:
    """A block whose last branch pools its input in another way."""

    class Block(block):  # type: ignore[misc]
        def _forward(self, x: Tensor) -> list[Tensor]:
            return [*super()._forward(x)[:-1], self.branch_pool(pool(x))]

    return Block
