"""Draws the given images, and the calibration images, out of a data set's good ones."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.dataset.config import ALL_SHOTS, Config
from components.dataset.coverage import SIDE, choose_shots
from components.decode import decode_image
from components.errors import InputError, check
from components.listing.layouts import SourceImage
from components.listing.opened import DataSet

if TYPE_CHECKING:
    from components.artifacts import UInt8Image

logger = logging.getLogger(__name__)

_NAMED = 5
"""Images that a line of the log names at most."""


@dataclass(frozen=True, kw_only=True)
class ChosenShots:
    """What was chosen out of the good training images."""

    shots: Sequence[SourceImage]
    """In the order of the choice."""
    look_at: Sequence[SourceImage]
    """The oddest ones, the oddest first."""
    oddness: Mapping[str, float]
    """Of every training image by its id; 1 is the median."""

    def to_content(self) -> dict[str, Any]:
        """The choice as JSON."""
        ids = {name: [source.id for source in getattr(self, name)] for name in ("shots", "look_at")}
        return {**ids, "oddness": dict(self.oddness)}


def choose_by_coverage(dataset: DataSet, sources: Sequence[SourceImage], config: Config) -> ChosenShots:
    """Choose the shots that represent the good training images best.

    Raises:
        InputError: there are not as many, or one of them is damaged.
    """
    train = [source for source in sources if source.split == "train"]
    _require_enough(train, config)

    def read(index: int) -> "UInt8Image":
        name = train[index].name
        path, shown, most = dataset.path(name), dataset.shown(name), config.max_megapixels
        return decode_image(path, SIDE, f"image {shown}", max_megapixels=most)[0]

    choice = choose_shots(read, len(train), config.shots, config.seed)
    shots, look_at = ([train[index] for index in indices] for indices in (choice.shots, choice.look_at))
    named = [", ".join(source.id for source in some[:_NAMED]) for some in (shots, look_at)]
    logger.info("dataset: of %d good images, chosen: %s; look at the oddest: %s", len(train), *named)
    oddness = {source.id: value for source, value in zip(train, choice.oddness, strict=True)}
    return ChosenShots(shots=shots, look_at=look_at, oddness=oddness)


def draw_shots(sources: Sequence[SourceImage], config: Config, chosen: Sequence[SourceImage] = ()) -> list[SourceImage]:
    """All images but the good training images that were not drawn.

    Drawn are the first `shots` of a permutation, by the seed, of the training images in sorted order; those that were
    chosen come before it. The calibration images come out of the data set's own validation images where it has some
    (MVTec LOCO AD), by a permutation with the same seed, and else out of the training images, after the shots.
    `InputError` where there are not as many.
    """
    import numpy as np

    def permuted(split: str) -> list[SourceImage]:
        those = [source for source in sources if source.split == split]
        return [those[index] for index in np.random.default_rng(config.seed).permutation(len(those))]

    train, validation = permuted("train"), permuted("validation")
    _require_enough(train, config)
    train = [*chosen, *(source for source in train if source not in chosen)]
    spare = validation or train[max(config.shots, 1) :]
    if config.calibration > len(spare):
        where = "validation images" if validation else "beside the shots"
        raise InputError(f"dataset.calibration: got {config.calibration}, expected at most {len(spare)} {where}")
    reserved = 0 if validation else config.calibration
    shots = len(train) - reserved if config.shots == ALL_SHOTS else config.shots
    held_out = (validation or train[shots:])[: config.calibration]
    calibration = [dataclasses.replace(source, split="calibration") for source in held_out]
    rest = [source for source in sources if source.split != "train" and source not in held_out]
    return train[:shots] + calibration + rest


def _require_enough(train: Sequence[SourceImage], config: Config) -> None:
    expected = f"at most {len(train)}, the good training images"
    check(config.shots <= len(train), "dataset.shots", config.shots, expected)
