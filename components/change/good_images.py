"""What a line's good images looked like, and how a detector scored them, when that detector was trained.

A data set grows with the production that it is to be compared with; what the detector knew does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from components.artifacts import GOOD_IMAGES, ImageSet
from components.change.config import BACKBONE, MAX_IMAGES
from components.change.shift import STATISTICS, Floats, Looks, looks_of
from components.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_HELD_OUT = ("calibration", "test")


class Scorer(Protocol):
    """What is asked of a trained detector, see `components.detectors.detector.Detector`."""

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the images that it scores."""

    def predict(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """Raw anomaly scores [n] and anomaly maps [n, height, width] of images [n, 3, height, width] in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class GoodImages:
    """Good images of all splits, and the scores of those that no detector is trained on."""

    image_size: int
    backbone: str
    looks: Looks
    """Of images drawn from all splits."""
    scores: Floats | None
    """Raw anomaly scores [m] of images drawn from the held-out splits; None without such images or a detector."""

    def write(self, directory: Path) -> None:
        """Keep them in a detector artifact, at most some hundred kilobytes."""
        from safetensors.numpy import save_file

        tensors = {"embeddings": self.looks.embeddings.astype(np.float32), **self.looks.statistics}
        if self.scores is not None:
            tensors["scores"] = self.scores
        metadata = {"backbone": self.backbone, "image_size": str(self.image_size)}
        save_file(tensors, directory / GOOD_IMAGES, metadata)

    @classmethod
    def read(cls, directory: Path) -> "GoodImages | None":
        """What `write` kept; None for an artifact without it."""
        from safetensors import safe_open

        if not (directory / GOOD_IMAGES).is_file():
            return None
        with safe_open(directory / GOOD_IMAGES, "numpy") as file:
            tensors = {name: file.get_tensor(name).astype(np.float64) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata()
        looks = Looks(embeddings=tensors["embeddings"], statistics={name: tensors[name] for name in STATISTICS})
        size = int(metadata["image_size"])
        return cls(image_size=size, backbone=metadata["backbone"], looks=looks, scores=tensors.get("scores"))


def good_images(
    images: ImageSet, detector: Scorer | None, backbone: str = BACKBONE, max_images: int = MAX_IMAGES, seed: int = 0
) -> GoodImages:
    """Look at the good images of a set, and score those that the detector, if any, was not trained on.

    At most `max_images` are looked at, and as many are scored; the seed draws them where there are more.
    """
    known, held_out = (
        drawn([id for split in splits for id in images.ids(split, "good")], max_images, seed)
        for splits in (("train", *_HELD_OUT), _HELD_OUT)
    )
    return GoodImages(
        image_size=int(images.manifest["width"].iloc[0]),
        backbone=backbone,
        looks=looks_of(images.tensor(known), backbone),
        scores=None if detector is None or not held_out else scores_of(detector, images.tensor(held_out)),
    )


def scores_of(detector: Scorer, images: "Tensor") -> Floats:
    """Raw anomaly scores [n] of images [n, 3, height, width] in [0, 1]; other sizes than the detector's are refused."""
    received, (height, width) = detector.input_size, images.shape[-2:]
    if received != (width, height):
        taken, given = (f"{size[0]}x{size[1]}" for size in (received, (width, height)))
        raise InputError(f"detector: takes {taken} pixels, expected {given} as in the data set")
    scores: Floats = detector.predict(images)[0].double().numpy()
    return scores


def drawn(ids: Sequence[str], most: int, seed: int) -> list[str]:
    """The ids, or as many as are compared, drawn by the seed and in their order."""
    if len(ids) <= most:
        return list(ids)
    chosen = np.random.default_rng(seed).choice(len(ids), most, replace=False)
    return [ids[index] for index in sorted(chosen)]
