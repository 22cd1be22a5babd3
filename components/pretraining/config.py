"""Settings of pretraining."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from components.errors import check, check_keys, check_seed
from components.generator.config import PERCEPTUALS
from components.good_folders import GOOD_FOLDERS
from components.storage.s3 import is_s3, split_uri

ARCHITECTURES = ("small", "f16")
DATASET_KEYS = ("uri", "layout", "test_fraction", "seed")
"""What a line's data set is named by; all values are texts."""

_FRACTION = re.compile(r"0?\.\d+|\d(\.\d+)?e-\d+")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*( (AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Settings of a base model: a VQGAN trained on the good images of many lines, before any line's own loop."""

    sources: tuple[str, ...] = ()
    """Folders of good images, local or `s3://BUCKET/PREFIX`; every image below them is read."""
    datasets: tuple[Mapping[str, str], ...] = ()
    """Data sets of lines, by `DATASET_KEYS` as in a line's section `dataset`; their good training images are read."""
    publish: str = ""
    """`s3://BUCKET/PREFIX` of the weights manifest that the base model is published to; empty for none."""
    licence: str = ""
    """SPDX expression of the published weights, which the owner of the images states."""
    architecture: str = "small"
    """`small` (f8) or `f16`, as in the line's loop."""
    codebook_size: int = 512
    """K, number of codebook vectors."""
    steps: int = 20_000
    """Optimiser steps in all."""
    warmup: int = 100
    """Steps in which the step size rises linearly to `learning_rate`."""
    autoencoder_steps: int = 1000
    """First steps, in which latents reach the decoder unquantised and the absolute difference alone is minimised; the
    codebook then starts on latents of the data."""
    unquantised: float = 0.5
    """Afterwards, the chance that a crop's latents reach the decoder unquantised: a line's loop decodes sampled
    latents, and moves the codebook to its own."""
    decay: float = 0.25
    """Last share of the steps, in which the step size falls linearly to zero; it is constant before."""
    learning_rate: float = 5e-4
    """Adam's largest step size; twice that let the small architecture's latents grow until the loss stood still."""
    batch_size: int = 8
    """Crops of the smallest size in each step; of a larger size, as many as have the same number of pixels."""
    sizes: tuple[int, ...] = (64, 128, 256)
    """Sides in pixels of the crops; each step draws one."""
    image_side: int = 1024
    """Longest side in pixels at which images are kept in memory; larger ones are scaled down when read."""
    colour_jitter: float = 0.2
    """Largest relative change of contrast, of saturation, and of each colour channel's brightness."""
    held_out: float = 0.1
    """Share of the images that are not trained on and give the figures; at least one."""
    perceptual: str = "efficientnet"
    """`efficientnet` (a stand-in) or `lpips`."""
    perceptual_backbone: str = "vgg16"
    """Reference to torchvision's VGG16 weights, for `lpips`."""
    perceptual_weight: float = 1.0
    """Weight of the perceptual distance."""
    adversarial_weight: float = 0.8
    """Weight of the adversarial term, on top of the adaptive weight."""
    adversarial_start: float = 1.0
    """Share of the steps after which the discriminator is trained and used; 1 for never."""
    commitment: float = 0.25
    """Beta, weight of the commitment term of the codebook loss."""
    restart_every: int = 100
    """Steps after which codebook vectors that none of them used move to latents of the data."""
    checkpoint_every: int = 200
    """Steps between checkpoints."""
    seed: int = 0
    """Draws initial weights, the held-out images, and every step's crops."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        self._check_places()
        check(self.architecture in ARCHITECTURES, "pretrain.architecture", self.architecture, f"one of {ARCHITECTURES}")
        check(self.perceptual in PERCEPTUALS, "pretrain.perceptual", self.perceptual, f"one of {PERCEPTUALS}")
        check(bool(self.sizes), "pretrain.sizes", self.sizes, "at least one size")
        for size in self.sizes:
            check(32 <= size <= 1024 and size % 32 == 0, "pretrain.sizes", size, "multiples of 32, 32 to 1024")
        check(max(self.sizes) <= self.image_side <= 8192, "pretrain.image_side", self.image_side, "max(sizes) to 8192")
        counts = {
            "codebook_size": 65536,
            "steps": 10_000_000,
            "batch_size": 256,
            "restart_every": 1_000_000,
            "checkpoint_every": 1_000_000,
        }
        for name, most in counts.items():
            value = getattr(self, name)
            check(1 <= value <= most, f"pretrain.{name}", value, f"1 to {most}")
        for name in ("warmup", "autoencoder_steps"):
            value = getattr(self, name)
            check(value >= 0, f"pretrain.{name}", value, "0 or more")
        check(0 < self.learning_rate < 1, "pretrain.learning_rate", self.learning_rate, "between 0 and 1")
        check(0 < self.held_out < 1, "pretrain.held_out", self.held_out, "between 0 and 1")
        for name in ("unquantised", "decay", "adversarial_start", "colour_jitter"):
            value = getattr(self, name)
            check(0 <= value <= 1, f"pretrain.{name}", value, "0 to 1")
        for name in ("perceptual_weight", "adversarial_weight", "commitment"):
            value = getattr(self, name)
            check(0 <= value <= 100, f"pretrain.{name}", value, "0 to 100")
        check_seed(self.seed)

    def _check_places(self) -> None:
        given = self.sources or self.datasets
        check(bool(given), "pretrain.sources", self.sources, "at least one folder or s3://BUCKET/PREFIX, or lines")
        for dataset in self.datasets:
            _check_dataset(dataset)
        if self.publish:
            prefix = is_s3(self.publish) and bool(split_uri(self.publish)[1])
            check(prefix, "pretrain.publish", self.publish, "s3://BUCKET/PREFIX")
        if self.publish or self.licence:
            named = bool(_LICENCE.fullmatch(self.licence))
            check(named, "pretrain.licence", self.licence, "an SPDX expression, such as CC-BY-4.0 or LicenseRef-Plant")


def _check_dataset(dataset: Mapping[str, str]) -> None:
    prefix = "pretrain.datasets"
    check_keys(f"{prefix}.", dataset, DATASET_KEYS)
    check(len(dataset) == len(DATASET_KEYS), prefix, dataset, f"all of {', '.join(DATASET_KEYS)}")
    layout, fraction, seed = (dataset[key] for key in DATASET_KEYS[1:])
    check(layout in GOOD_FOLDERS, f"{prefix}.layout", layout, f"one of {', '.join(GOOD_FOLDERS)}")
    check(bool(_FRACTION.fullmatch(fraction)), f"{prefix}.test_fraction", fraction, "between 0 and 1")
    check(seed.isdecimal(), f"{prefix}.seed", seed, "a whole number, 0 or more")
