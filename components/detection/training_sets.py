"""The images that a detector is trained on, by the name of the training set."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from components.artifacts import ImageSet
from components.compute import rotate
from components.detectors.config import Config


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Image sets that training sets are made of; only their good training images are read for them."""

    reference: str | Path
    """The given images, and the calibration images if there are any."""
    augmented: str | Path
    """Augmentations; each row's source is the id of a given image."""
    selected: str | Path


def load_training_set(sources: Sources, config: Config, without: Collection[str] = ()) -> Tensor:
    """The given images and what the training set adds, [n, 3, height, width] in [0, 1].

    `without` are ids of images that are left out, and with them the augmentations made from them. Generated images come
    from a generator that has seen all given images, so none of them can be left out.
    """
    given = _good(sources.reference, without)
    if config.training_set == "rotations":
        count = round(360 / config.rotation_step)
        return torch.cat([rotate(given, index * config.rotation_step) for index in range(count)])
    added = {"augmented": sources.augmented, "generated": sources.selected}.get(config.training_set)
    return given if added is None else torch.cat([given, _good(added, without)])


def _good(path: str | Path, without: Collection[str]) -> Tensor:
    images = ImageSet(path)
    origins = dict(zip(images.manifest["id"], images.manifest["source"], strict=True))
    kept = [id for id in images.ids("train", "good") if not {id, origins[id]} & set(without)]
    height, width = images.manifest[["height", "width"]].iloc[0]
    return images.tensor(kept) if kept else torch.empty(0, 3, height, width)
