"""Random batches of few images, by steps: an image comes back as often as the steps need it."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

_KEPT_IMAGES = 64

Encode = Callable[[Tensor], list[Tensor]]


def drawn(count: int, size: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Indices of `steps` batches of at most `size` different images, every image once before any comes again.

    Args:
        count: images.
        size: images of a batch; all of them where there are fewer.
        steps: batches.
        seed: of the order.
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(size, count)
    rest = torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(rest) < size:
            rest = torch.randperm(count, generator=generator)
        batch, rest = rest[:size], rest[size:]
        yield batch


def encoded_batches(encode: Encode, images: Tensor, size: int, steps: int, seed: int) -> Iterator[list[Tensor]]:
    """Feature maps of batches as `drawn` gives them; those of up to 64 images are computed once.

    Args:
        encode: frozen encoder, from images [n, 3, height, width] to feature maps.
        images: [n, 3, height, width] in [0, 1], on the encoder's device.
        size: images of a batch.
        steps: batches.
        seed: of the order.
    """
    kept = encoded(encode, images) if len(images) <= _KEPT_IMAGES else None
    for batch in drawn(len(images), size, steps, seed):
        yield encode(images[batch]) if kept is None else [maps[batch] for maps in kept]


def encoded(encode: Encode, images: Tensor) -> list[Tensor]:
    """Feature maps of all images, computed one image at a time."""
    rows = [encode(image.unsqueeze(0)) for image in images]
    return [torch.cat(maps) for maps in zip(*rows, strict=True)]
