"""Random batches of few images, by steps: an image comes back as often as the steps need it.

Detectors that are optimised take a number of steps, not of epochs, so that one image and a hundred cost the same.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

BATCH = 2
"""Images of a step of the detectors that learn from batches."""
_KEPT_IMAGES = 64

Encode = Callable[[Tensor], list[Tensor]]


class Images(Protocol):
    """Training images, float32 in [0, 1] on the device that computes: a tensor, or what reads few of many at a time."""

    @property
    def shape(self) -> torch.Size:
        """Number, 3, height and width."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Images [k, 3, height, width] of a slice, or of indices [k]."""


def drawn(count: int, size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Indices of `steps` batches of at most `size` different images, every image once before any comes again."""
    generator = torch.Generator().manual_seed(seed)
    size = min(size, count)
    rest = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(rest) < size:
            rest = torch.randperm(count, generator=generator)
        batch, rest = rest[:size], rest[size:]
        yield batch


def encoded_batches(encode: Encode, images: Images, steps: int, seed: int, size: int = BATCH) -> Iterator[list[Tensor]]:
    """Feature maps of batches, by default of at most two images, drawn as `drawn` does; of up to 64 images, made once.

    The images are on the device of the frozen encoder.
    """
    kept = encoded(encode, images) if len(images) <= _KEPT_IMAGES else None
    for batch in drawn(len(images), size, steps, seed):
        yield encode(images[batch]) if kept is None else [maps[batch] for maps in kept]


def encoded(encode: Encode, images: Images) -> list[Tensor]:
    """Feature maps of all images, computed one image at a time."""
    rows = [encode(image) for image in singly(images)]
    return [torch.cat(maps) for maps in zip(*rows, strict=True)]


def singly(images: Images) -> Iterator[Tensor]:
    """Images as batches [1, 3, height, width] of one."""
    return (images[index : index + 1] for index in range(len(images)))


def optimise(optimiser: torch.optim.Optimizer, loss: Tensor, *, clip: float = 0.0) -> None:
    """One step down the gradient of a loss; `clip` bounds the gradient's norm, 0 leaves it."""
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    if clip:
        nn.utils.clip_grad_norm_([value for group in optimiser.param_groups for value in group["params"]], clip)
    optimiser.step()
