"""The images that a detector is trained on, by the name of the training set."""

from pathlib import Path

import torch
from torch import Tensor

from components.artifacts import ImageSet
from components.detectors import Config
from components.rotation import rotate


def load_training_set(reference: str | Path, augmented: str | Path, selected: str | Path, config: Config) -> Tensor:
    """The given images and what the training set adds, [n, 3, height, width] in [0, 1].

    Args:
        reference: image set; only its good training images are read.
        augmented: image set of the augmentation stage.
        selected: image set of the selection stage.
        config: names the training set.
    """
    given = _good(reference)
    if config.training_set == "rotations":
        count = round(360 / config.rotation_step)
        return torch.cat([rotate(given, index * config.rotation_step) for index in range(count)])
    if config.training_set == "augmented":
        return torch.cat([given, _good(augmented)])
    if config.training_set == "generated":
        return torch.cat([given, _good(selected)])
    return given


def _good(path: str | Path) -> Tensor:
    images = ImageSet(path)
    return images.tensor(images.ids("train", "good"))
