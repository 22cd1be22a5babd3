"""The images that a detector is trained on, by the name of the training set."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from components.artifacts import ImageSet
from components.compute import GRID_PHASES, device, rotate, shift
from components.detectors.config import Config
from components.preprocessing.geometry import Box
from components.preprocessing.transform import Preprocessing, preprocessing_of


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Image sets that detectors are trained and validated on."""

    reference: str | Path
    """The given images, and the calibration images if there are any."""
    augmented: str | Path
    """Augmentations; each row's source is the id of a given image."""
    selected: str | Path
    """Generated images; each row's source is the id of the given image that it was sampled around, if that is known."""
    synthetic: str | Path | None = None
    """Synthetic defects on the good images; each row's source is the id of a good image. Never trained on."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What the given images went through."""
        return preprocessing_of(ImageSet(self.reference))


@dataclass(frozen=True)
class _Row:
    """An image of a set, moved by some pixels and turned by some degrees, or a tile of it."""

    images: ImageSet
    id: str
    degrees: float = 0.0
    shift: tuple[int, int] = (0, 0)
    content: Box | None = None
    """What is moved and turned; all of the image where it has no padding."""
    tile: Box | None = None

    def read(self) -> Tensor:
        """The image [1, 3, height, width], in the memory format of all images of a set."""
        image = self.images.tensor([self.id])
        if self.degrees or any(self.shift):
            image = moved(image, self.degrees, self.content, self.shift).contiguous(memory_format=torch.channels_last)
        return image if self.tile is None else image[(..., *self.tile.slices)]


def moved(images: Tensor, degrees: float, content: Box | None, shifted: tuple[int, int] = (0, 0)) -> Tensor:
    """The images [n, 3, height, width], of which the content is moved and rotated and the padding beside it is not."""
    rows, columns = content.slices if content else (slice(None), slice(None))
    part = images[..., rows, columns]
    part = shift(part, *shifted) if any(shifted) else part
    part = rotate(part, degrees) if degrees else part
    if content is None:
        return part
    found = images.clone()
    found[..., rows, columns] = part
    return found


def _given_rows(
    preprocessing: Preprocessing, images: ImageSet, id: str, degrees: float = 0.0, shifted: tuple[int, int] = (0, 0)
) -> list[_Row]:
    """What a network sees of a given image: the image, or each of its tiles."""
    content = preprocessing.content_box if preprocessing.padded else None
    tiles = preprocessing.tile_boxes if preprocessing.tiled else [None]
    return [_Row(images, id, degrees, shifted, content, tile) for tile in tiles]


def _moved_rows(
    kinds: Sequence[tuple[float, tuple[int, int]]],
    given: Sequence[str],
    images: ImageSet,
    preprocessing: Preprocessing,
) -> list[_Row]:
    """What a network sees of the given images, turned by some degrees and moved by some pixels, kind by kind."""
    return [row for kind in kinds for id in given for row in _given_rows(preprocessing, images, id, *kind)]


class TrainingImages:
    """Images of a training set, read and rotated when they are asked for, so that any number of them fits in memory."""

    def __init__(self, rows: Sequence[_Row], size: tuple[int, int], given: int) -> None:
        self._rows = rows
        self._size = size
        self.given = given
        """Number of given images that all of them were made of."""

    @property
    def shape(self) -> torch.Size:
        """Number of images, 3, height and width."""
        return torch.Size((len(self._rows), 3, *self._size))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """Images [k, 3, height, width] in [0, 1] of a slice or of indices [k], on the device that computes."""
        chosen = self._rows[rows] if isinstance(rows, slice) else [self._rows[index] for index in rows.tolist()]
        if not chosen:
            return torch.empty(0, *self.shape[1:])
        return torch.cat([row.read() for row in chosen]).to(device())


def load_training_set(
    sources: Sources, config: Config, without: Collection[str] = (), parts: Collection[str] | None = None
) -> TrainingImages:
    """The given images and what each part of the training set adds, the parts in their order, as a network sees them.

    Of a tiled line, the given images come as their tiles, and what was made of them was made of tiles.

    `without` are ids of given images that are left out, with all that was made of them: their rotations, repetitions
    and augmentations, the images generated around them, and any generated image whose given one is not known. `parts`
    replaces those of the config.
    """
    reference = ImageSet(sources.reference)
    given = [id for id in reference.ids("train", "good") if id not in without]
    preprocessing = sources.preprocessing
    rows = [row for id in given for row in _given_rows(preprocessing, reference, id)]
    for part in config.parts if parts is None else parts:
        rows += _added(part, given, reference, sources, config)
    return TrainingImages(rows, (preprocessing.image_size, preprocessing.image_size), len(given))


def _added(part: str, given: Sequence[str], reference: ImageSet, sources: Sources, config: Config) -> list[_Row]:
    """What a part adds to given images, in the order of the image set that it comes from."""
    if part == "rotations":
        turns = range(1, round(360 / config.rotation_step))
        shifts = [(0, 0), *(GRID_PHASES if "shifts" in config.parts else ())]
        kinds = [(turn * config.rotation_step, shifted) for turn in turns for shifted in shifts]
        return _moved_rows(kinds, given, reference, sources.preprocessing)
    if part == "shifts":
        return _moved_rows([(0.0, shifted) for shifted in GRID_PHASES], given, reference, sources.preprocessing)
    if part == "augmented":
        return list(_made_of(ImageSet(sources.augmented), given))
    if part == "generated":
        return list(_made_of(ImageSet(sources.selected), given, reference.ids("train", "good")))
    if part == "repeated":
        count = len(ImageSet(sources.selected).ids("train", "good"))
        pieces = [row for id in given for row in _given_rows(sources.preprocessing, reference, id)]
        return [pieces[index % len(pieces)] for index in range(count)]
    assert part == "none", part
    return []


def _made_of(images: ImageSet, given: Sequence[str], known: Sequence[str] | None = None) -> Iterator[_Row]:
    """Rows of an image set whose sources are among the given ones, or are not `known` while none is left out."""
    sources = dict(zip(images.manifest["id"], images.manifest["source"], strict=True))
    whole, those = known is not None and len(given) == len(known), set(given)
    for id in images.ids("train", "good"):
        if sources[id] in those or whole:
            yield _Row(images, id)
