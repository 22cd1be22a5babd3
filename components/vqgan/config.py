"""Settings of the vqgan stage."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.errors import check
from components.generator.config import GeneratorConfig, LossConfig
from components.networks.config import EmbedderConfig
from components.settings import OneOf, Seed, Share, Weight

_SMALL_STEP_SIZE = 1e-3
_TAMING_STEP_SIZE = 4.5e-6
"""For each image of a step: the base learning rate of taming-transformers (Esser et al., 2021)."""


class Config(EmbedderConfig, LossConfig, GeneratorConfig):
    """Settings of the variance-aware image generator and its fine-tuning loop (paper sections 4.1.2, 4.2)."""

    section: ClassVar = "vqgan"

    iterations: Annotated[int, Field(ge=1, le=1000)] = 8
    """L, number of candidate sets."""
    images: Annotated[int, Field(ge=1, le=1000)] = 16
    """M, number of images in each set; at least one for each given image."""
    steps: Annotated[int, Field(ge=1, le=100_000)] = 15
    """Optimiser steps in each iteration; at least as many as give every given image a batch."""
    batch_size: Annotated[int, Field(ge=1, le=256)] = 4
    """Augmented images in each step, and as many generated ones."""
    accumulate: Annotated[int, Field(ge=1, le=1000)] = 1
    """Batches whose gradients make up one step."""
    vq_weight: Weight = 1.0
    """Lambda of Eq. 7."""
    learning_rate: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Adam's step size for generator and discriminator; 0 for what suits the start: 1e-3 for the architecture `small`
    and for untrained weights, else taming-transformers' 4.5e-6 for each image of a step."""
    mse_weight: Annotated[float, Field(ge=0, le=1e6)] = 1.0
    """Factor on L_mse in Eq. 7, for a sweep; 1 in the paper."""
    mse_mean: Annotated[str, OneOf(("values", "images"))] = "values"
    """n of Eq. 6, which the paper leaves open: of all `values`, or of `images`, whose values are summed."""
    adversarial_weight: Weight = 0.1
    """Weight of the adversarial term in L_vq, on top of the adaptive weight. At taming-transformers' 0.8, one
    of few steps undoes what the loop has learnt."""
    adversarial_start: Share = 1.0
    """Share of all steps after which the discriminator is trained and used; 1 for no adversarial term, which is
    noise in a loop of a hundred steps."""
    restart_codes: bool = True
    """Move codebook vectors that no given image used in its last turn to latents of the data."""
    center: Annotated[str, OneOf(("mean", "own"))] = "mean"
    """`mean` samples around the mean latent of all augmentations (Eq. 3), `own` around each augmentation's own."""
    variance: Annotated[str, OneOf(("estimated", "unit", "none"))] = "estimated"
    """`estimated` over the augmentations (Eq. 3), `unit` for 1 (the paper's ablation), `none` for 0."""
    covariance: Annotated[str, OneOf(("independent", "lowrank"))] = "independent"
    """`independent` samples each position by itself (Eq. 3); `lowrank` has the same variance, and positions move
    together as in the latents that it is estimated over."""
    variation: Annotated[str, OneOf(("augmentations", "given"))] = "augmentations"
    """What the variance is estimated over: `augmentations` of each given image, pooled, or two or more `given` images,
    moved onto the one that is sampled around."""
    decode: Annotated[str, OneOf(("plain", "residual"))] = "plain"
    """`plain`: the decoded sample (Eq. 3). `residual`: the image that is sampled around, plus the decoded sample's
    difference from the decoded center, which keeps the texture that the codebook loses."""
    temperature: Weight = 1.0
    """Factor on the standard deviation when sampling."""
    precision: Annotated[str, OneOf(("float32", "bfloat16"))] = "float32"
    """Of convolutions and matrix products; `bfloat16` is quicker where the processor or GPU has it."""
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the moving average of the weights that samples and is saved; 0 for none."""
    patience: Annotated[int, Field(ge=0)] = 0
    """Iterations without a set more similar to the given images, by `embedder`, after which the loop stops; 0 for
    all."""
    seed: Seed = 0
    """Draws initial weights, batches and samples."""

    @property
    def step_size(self) -> float:
        """Adam's step size."""
        if self.learning_rate:
            return self.learning_rate
        if self.untrained or self.architecture == "small":
            return _SMALL_STEP_SIZE
        return _TAMING_STEP_SIZE * self.batch_size * self.accumulate

    @property
    def embeds(self) -> bool:
        """Whether the loop may stop early, which needs the embedder."""
        return self.patience > 0

    @model_validator(mode="after")
    def _check_variance(self) -> Self:
        for name, chosen in {"covariance": "lowrank", "variation": "given"}.items():
            fits = getattr(self, name) != chosen or self.variance == "estimated"
            check(fits, self.key("variance"), self.variance, f"estimated, for {self.key(name)}: {chosen}")
        return self
