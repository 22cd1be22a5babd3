"""Images of an image set that are read from the disk when they are asked for, so that any number fits in memory."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from components.artifacts import ImageSet, to_tensor
from components.preprocessing.geometry import Box

if TYPE_CHECKING:
    from torch import Tensor

    from components.artifacts import UInt8Image

_KEPT_BYTES = 2**28


class Images(Protocol):
    """Images of one size: a tensor [n, 3, height, width], or what reads few of many at a time."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, rows: "slice | Tensor") -> "Tensor":
        """Images [k, 3, height, width] of a slice, or of indices [k]."""


class StoredImages:
    """Images in [0, 1], each by its id, and where it is a tile, by where that lies."""

    def __init__(self, read: "Callable[[str], UInt8Image]", rows: Sequence[tuple[str, Box | None]]) -> None:
        """`read` gives the image of an id, see `reader`."""
        self._read, self._rows = read, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: "slice | Tensor") -> "Tensor":
        chosen = self._rows[rows] if isinstance(rows, slice) else [self._rows[row] for row in rows.tolist()]
        return to_tensor(self._read(id) if tile is None else self._read(id)[tile.slices] for id, tile in chosen)


def reader(images: ImageSet) -> "Callable[[str], UInt8Image]":
    """What reads an image by its id, and keeps 256 MiB of those that were asked for last, decoded and as bytes."""
    width, height = images.manifest[["width", "height"]].iloc[0]
    return lru_cache(max(1, _KEPT_BYTES // int(3 * width * height)))(images.image)


def in_batches(images: Images, size: int) -> "Iterator[Tensor]":
    """All images, a number of them at a time."""
    return (images[start : start + size] for start in range(0, len(images), size))
