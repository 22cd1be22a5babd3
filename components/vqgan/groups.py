"""The loop's images: given ones with their augmentations, read from the disk when a step needs them."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from torch import Tensor

from components.artifacts import ImageSet, to_tensor
from components.generator.model import to_model_range
from components.preprocessing.geometry import Box
from components.preprocessing.transform import preprocessing_of

if TYPE_CHECKING:
    from components.artifacts import UInt8Image

_KEPT_BYTES = 2**28


class Images(Protocol):
    """Images in [-1, 1]: a tensor [n, 3, height, width], or what reads few of many at a time."""

    def __len__(self) -> int:
        """Number of images."""

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Images [k, 3, height, width] of a slice, or of indices [k]."""


Groups = Sequence[tuple[Images, Images]]
"""Given images, 1 in each group, with their augmentations."""


class StoredImages:
    """Images of an image set by their ids, or one tile of each, read when they are asked for."""

    def __init__(self, read: "Callable[[str], UInt8Image]", ids: Sequence[str], tile: Box | None = None) -> None:
        self._read, self._ids = read, ids
        self._slices = (slice(None), slice(None)) if tile is None else tile.slices

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        ids = self._ids[rows] if isinstance(rows, slice) else [self._ids[row] for row in rows.tolist()]
        return to_model_range(to_tensor(self._read(id)[self._slices] for id in ids))


def load_groups(reference: str | Path, augmented: str | Path) -> Groups:
    """Each given image with its augmentations; in a tiled line, each tile counts as an image.

    Of either set, 256 MiB of the images that were asked for last stay in memory, decoded and as bytes.
    """
    given, images = ImageSet(reference), ImageSet(augmented)
    preprocessing = preprocessing_of(given)
    manifest = images.manifest if preprocessing.tiled else images.manifest.assign(tile=0)
    own = manifest.groupby(["source", "tile"])["id"].agg(list)
    read_given, read_own = _reader(given), _reader(images)
    boxes = preprocessing.tile_boxes if preprocessing.tiled else [None]
    return [
        (StoredImages(read_given, [id], box), StoredImages(read_own, own[id, tile]))
        for id in given.ids("train", "good")
        for tile, box in enumerate(boxes)
    ]


def in_batches(images: Images, size: int) -> Iterator[Tensor]:
    """All images, a number of them at a time."""
    return (images[start : start + size] for start in range(0, len(images), size))


def _reader(images: ImageSet) -> "Callable[[str], UInt8Image]":
    """Reads an image by its id, and keeps those that were asked for last."""
    width, height = images.manifest[["width", "height"]].iloc[0]
    return lru_cache(max(1, _KEPT_BYTES // int(3 * width * height)))(images.image)
