"""Settings of the vqgan stage."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.errors import check
from components.generator.config import GeneratorConfig, LossConfig
from components.networks.config import EmbedderConfig
from components.settings import OneOf, Seed, Weight


class Config(EmbedderConfig, LossConfig, GeneratorConfig):
    """Settings of the variance-aware image generator and its fine-tuning loop (paper sections 4.1.2, 4.2)."""

    section: ClassVar = "vqgan"

    iterations: Annotated[int, Field(ge=1, le=1000)] = 8
    """L, number of candidate sets."""
    images: Annotated[int, Field(ge=1, le=1000)] = 16
    """M, number of images in each set."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 15
    """Optimiser steps in each iteration."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 4
    """Augmented images in each step, and as many generated ones."""
    accumulate: Annotated[int, Field(ge=1, le=1000)] = 1
    """Batches whose gradients make up one step."""
    vq_weight: Weight = 1.0
    """Lambda of Eq. 7."""
    adversarial_weight: Weight = 0.1
    """Weight of the adversarial term in L_vq, on top of the adaptive weight. At taming-transformers' 0.8, a
    discriminator that has seen few steps undoes what the loop has learnt."""
    restart_codes: bool = True
    """Move codebook vectors that an iteration did not use to latents of the data."""
    center: Annotated[str, OneOf(("mean", "own"))] = "mean"
    """`mean` samples around the mean latent of all augmentations (Eq. 3), `own` around each augmentation's own."""
    variance: Annotated[str, OneOf(("estimated", "unit", "none"))] = "estimated"
    """`estimated` over the augmentations (Eq. 3), `unit` for 1 (the paper's ablation), `none` for 0."""
    temperature: Weight = 1.0
    """Factor on the standard deviation when sampling."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that samples and is saved; 0 for none."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Iterations without a better set after which the loop stops, by the sets' similarity to the given images, which
    `embedder` measures; 0 for all iterations."""
    seed: Seed = 0
    """Draws initial weights, batches and samples."""

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole loop."""
        return self.iterations * self.steps

    @property
    def embeds(self) -> bool:
        """Whether the loop may stop early, which needs the embedder."""
        return self.patience > 0

    @model_validator(mode="after")
    def _check_batch(self) -> Self:
        expected = "2 or more for vqgan.variance: estimated"
        check(self.batch_size > 1 or self.variance != "estimated", "vqgan.batch_size", self.batch_size, expected)
        return self
