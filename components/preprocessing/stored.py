"""Images of an image set that are read from the disk when they are asked for, so that any number fits in memory."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
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
        """`read` gives the image of an id, see `Reader`."""
        self._read, self._rows = read, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: "slice | Tensor") -> "Tensor":
        chosen = self._rows[rows] if isinstance(rows, slice) else [self._rows[row] for row in rows.tolist()]
        return to_tensor(self._read(id) if tile is None else self._read(id)[tile.slices] for id, tile in chosen)


class Reader:
    """Reads images of one size by their ids, and keeps 256 MiB of those that were asked for last, decoded.

    They are kept in one piece of memory: thousands of single arrays between larger tensors that come and go would leave
    gaps that nothing fits in, several times as large as they are.
    """

    def __init__(self, images: ImageSet) -> None:
        import numpy as np

        self._images = images
        width, height = (int(side) for side in images.manifest[["width", "height"]].iloc[0])
        count = min(len(images.manifest), max(1, _KEPT_BYTES // (3 * width * height)))
        self._kept = np.empty((count, height, width, 3), dtype=np.uint8)
        self._places = OrderedDict[str, int]()

    def __call__(self, id: str) -> "UInt8Image":
        """The image [height, width, 3] of an id."""
        if id in self._places:
            self._places.move_to_end(id)
        else:
            read, full = self._images.image(id), len(self._places) == len(self._kept)
            place = self._places.popitem(last=False)[1] if full else len(self._places)
            self._kept[place] = read
            self._places[id] = place
        image: UInt8Image = self._kept[self._places[id]].copy()
        return image


def in_batches(images: Images, size: int) -> "Iterator[Tensor]":
    """All images, a number of them at a time."""
    return (images[start : start + size] for start in range(0, len(images), size))
