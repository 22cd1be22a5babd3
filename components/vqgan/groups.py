"""The loop's images: given ones with their augmentations, read from the disk when a step needs them."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from components.artifacts import ImageSet
from components.generator.model import to_model_range
from components.preprocessing.stored import Images, Reader, StoredImages
from components.preprocessing.transform import preprocessing_of

Groups = Sequence[tuple[Images, Images]]
"""Given images, one in each group, with their augmentations, all in [-1, 1]."""


class ModelImages(StoredImages):
    """Stored images in [-1, 1]."""

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        return to_model_range(super().__getitem__(rows))


def load_groups(reference: str | Path, augmented: str | Path) -> Groups:
    """Each given image with its augmentations; in a tiled line, each tile counts as an image."""
    given, images = ImageSet(reference), ImageSet(augmented)
    preprocessing = preprocessing_of(given)
    manifest = images.manifest if preprocessing.tiled else images.manifest.assign(tile=0)
    own = manifest.groupby(["source", "tile"])["id"].agg(list)
    read_given, read_own = Reader(given), Reader(images)
    boxes = preprocessing.tile_boxes if preprocessing.tiled else [None]
    return [
        (ModelImages(read_given, [(id, box)]), ModelImages(read_own, [(made, None) for made in own[id, tile]]))
        for id in given.ids("train", "good")
        for tile, box in enumerate(boxes)
    ]
