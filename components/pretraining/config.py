"""Settings of the pretraining stage."""

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from components.errors import check, check_keys
from components.generator.config import CodebookSize, LossConfig
from components.listing.layouts import LAYOUTS
from components.settings import Expected, Fraction, Integer, OneOf, Seed, Share, Texts, Weight
from components.storage.addresses import is_s3
from components.storage.s3 import split_uri

DATASET_KEYS = ("uri", "layout", "test_fraction", "seed")
"""What a line's data set is named by; all values are texts."""

_FRACTION = re.compile(r"0?\.\d+|\d(\.\d+)?e-\d+")
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*( (AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*")

CropSize = Annotated[Integer, Field(ge=32, le=1024, multiple_of=32)]
CropSizes = Annotated[tuple[CropSize, ...], Field(strict=False), Expected("multiples of 32, 32 to 1024")]


class Config(LossConfig):
    """Settings of a base model: a VQGAN trained on the good images of many lines, before any line's own loop."""

    section: ClassVar = "pretraining"

    sources: Texts = ()
    """Folders of good images, local or `s3://BUCKET/PREFIX`; every image below them is read."""
    datasets: Annotated[tuple[Mapping[str, str], ...], Field(strict=False)] = ()
    """Data sets of lines, with uri, layout, test_fraction and seed as in a line's section `dataset`, all as texts;
    their good training images are read."""
    publish: str = ""
    """`s3://BUCKET/PREFIX` of the weights manifest that the base model is published to; empty for none."""
    licence: str = ""
    """SPDX expression of the published weights, which the owner of the images states."""
    architecture: Annotated[str, OneOf(("small", "f16"))] = "small"
    """`small` (f8) or `f16`, as in the line's loop."""
    codebook_size: CodebookSize = 512
    """K, number of codebook vectors."""
    steps: Annotated[int, Field(ge=1, le=10_000_000)] = 20_000
    """Optimiser steps in all."""
    warmup: Annotated[int, Field(ge=0)] = 100
    """Steps in which the step size rises linearly to `learning_rate`."""
    autoencoder_steps: Annotated[int, Field(ge=0)] = 1000
    """First steps, in which latents reach the decoder unquantised and the absolute difference alone is minimised; the
    codebook then starts on latents of the data."""
    unquantised: Share = 0.5
    """Afterwards, the chance that a crop's latents reach the decoder unquantised: a line's loop decodes sampled
    latents, and moves the codebook to its own."""
    decay: Share = 0.25
    """Last share of the steps, in which the step size falls linearly to zero; it is constant before."""
    learning_rate: Fraction = 5e-4
    """Adam's largest step size; twice that let the small architecture's latents grow until the loss stood still."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 8
    """Crops of the smallest size in each step; of a larger size, as many as have the same number of pixels."""
    sizes: CropSizes = (64, 128, 256)
    """Sides in pixels of the crops; each step draws one."""
    image_side: int = 1024
    """Longest side in pixels at which images are kept in memory; larger ones are scaled down when read."""
    colour_jitter: Share = 0.2
    """Largest relative change of contrast, of saturation, and of each colour channel's brightness."""
    held_out: Fraction = 0.1
    """Share of the images that are not trained on and give the figures; at least one."""
    adversarial_weight: Weight = 0.8
    """Weight of the adversarial term, on top of the adaptive weight."""
    adversarial_start: Share = 1.0
    """Share of the steps after which the discriminator is trained and used; 1 for never."""
    restart_every: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    """Steps after which codebook vectors that none of them used move to latents of the data."""
    checkpoint_every: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Steps between checkpoints."""
    seed: Seed = 0
    """Draws initial weights, the held-out images, and every step's crops."""

    @field_validator("datasets")
    @classmethod
    def _check_datasets(cls, datasets: tuple[Mapping[str, str], ...]) -> tuple[Mapping[str, str], ...]:
        for dataset in datasets:
            key = cls.key("datasets")
            check_keys(f"{key}.", dataset, DATASET_KEYS)
            check(len(dataset) == len(DATASET_KEYS), key, dataset, f"all of {', '.join(DATASET_KEYS)}")
            layout, fraction, seed = (dataset[name] for name in DATASET_KEYS[1:])
            check(layout in LAYOUTS, f"{key}.layout", layout, f"one of {', '.join(LAYOUTS)}")
            check(bool(_FRACTION.fullmatch(fraction)), f"{key}.test_fraction", fraction, "between 0 and 1")
            check(seed.isdecimal(), f"{key}.seed", seed, "a whole number, 0 or more")
        return datasets

    @model_validator(mode="after")
    def _check_places_and_sizes(self) -> Self:
        given = bool(self.sources or self.datasets)
        check(given, self.key("sources"), self.sources, "at least one folder or s3://BUCKET/PREFIX, or lines")
        prefix = not self.publish or (is_s3(self.publish) and bool(split_uri(self.publish)[1]))
        check(prefix, self.key("publish"), self.publish, "s3://BUCKET/PREFIX")
        if self.publish or self.licence:
            expected = "an SPDX expression, such as CC-BY-4.0 or LicenseRef-Plant"
            check(bool(_LICENCE.fullmatch(self.licence)), self.key("licence"), self.licence, expected)
        check(bool(self.sizes), self.key("sizes"), self.sizes, "at least one size")
        fits = max(self.sizes) <= self.image_side <= 8192
        check(fits, self.key("image_side"), self.image_side, "max(sizes) to 8192")
        return self
