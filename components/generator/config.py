"""Settings of the vqgan stage."""

from collections.abc import Mapping
from dataclasses import dataclass

from components.errors import check, check_seed
from components.networks.embedding import CONSE, check_embedder

ARCHITECTURES = ("small", "f16", "stored")
STORED = "stored"
PERCEPTUALS = ("efficientnet", "lpips")
UNTRAINED = "none"
BASE = "base"
BASES: Mapping[str, str] = {"small": "vqgan-small"}
"""Name, in the weights manifest, of the base model that ships for an architecture."""
BASE_CODES = 512
"""Codebook vectors of the base models that ship."""
CENTERS = ("mean", "own")
VARIANCES = ("estimated", "unit", "none")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the variance-aware image generator and its fine-tuning loop (paper sections 4.1.2, 4.2)."""

    architecture: str = "small"
    """`small` (f8, 2.9 M parameters), `f16` (taming-transformers' ImageNet model, 72 M parameters), or `stored`: as the
    header of the weights file says (see `vigil weights convert`)."""
    weights: str = BASE
    """`base` for the model that ships for the architecture, `none` to start untrained, or a reference to weights."""
    codebook_size: int = BASE_CODES
    """K, number of codebook vectors; pretrained weights must have as many."""
    iterations: int = 8
    """L, number of candidate sets."""
    images: int = 16
    """M, number of images in each set."""
    steps: int = 15
    """Optimiser steps in each iteration."""
    batch_size: int = 4
    """Augmented images in each step, and as many generated ones."""
    accumulate: int = 1
    """Batches whose gradients make up one step."""
    learning_rate: float = 1e-3
    """Adam's step size for generator and discriminator."""
    vq_weight: float = 1.0
    """Lambda of Eq. 7."""
    perceptual: str = "efficientnet"
    """Perceptual distance: `efficientnet` (a stand-in that needs no download) or `lpips`."""
    perceptual_backbone: str = "vgg16"
    """Reference to torchvision's VGG16 weights, for `lpips`."""
    perceptual_weight: float = 1.0
    """Weight of the perceptual distance in L_vq."""
    adversarial_weight: float = 0.1
    """Weight of the adversarial term in L_vq, on top of the adaptive weight.

    At taming-transformers' 0.8, a discriminator that has seen few steps undoes what the loop has learnt."""
    adversarial_start: float = 0.75
    """Share of all steps after which the discriminator is trained and used; 1 for a loop without adversarial term."""
    commitment: float = 0.25
    """Beta, weight of the commitment term of the codebook loss."""
    restart_codes: bool = True
    """Move codebook vectors that an iteration did not use to latents of the data."""
    center: str = "mean"
    """`mean` samples around the mean latent of all augmentations (Eq. 3), `own` around each augmentation's own."""
    variance: str = "estimated"
    """`estimated` over the augmentations (Eq. 3), `unit` for 1 (the paper's ablation), `none` for 0."""
    temperature: float = 1.0
    """Factor on the standard deviation when sampling."""
    ema: float = 0.0
    """Decay of the moving average of the weights that samples and is saved; 0 for none."""
    patience: int = 0
    """Iterations without a better set after which the loop stops, by the sets' similarity to the given images; 0 for
    all iterations."""
    embedder: str = CONSE
    """Image embedder of the similarity; used where `patience` is set."""
    embedder_weights: str = ""
    """Reference to the embedder's weights; empty for `conse`."""
    seed: int = 0
    """Draws initial weights, batches and samples."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(
            self.architecture in ARCHITECTURES, "generator.architecture", self.architecture, f"one of {ARCHITECTURES}"
        )
        check(self.perceptual in PERCEPTUALS, "generator.perceptual", self.perceptual, f"one of {PERCEPTUALS}")
        check(self.center in CENTERS, "generator.center", self.center, f"one of {CENTERS}")
        check(self.variance in VARIANCES, "generator.variance", self.variance, f"one of {VARIANCES}")
        counts = {
            "codebook_size": 65536,
            "iterations": 1000,
            "images": 1000,
            "steps": 100_000,
            "batch_size": 256,
            "accumulate": 1000,
        }
        for name, most in counts.items():
            value = getattr(self, name)
            check(1 <= value <= most, f"generator.{name}", value, f"1 to {most}")
        check(0 < self.learning_rate < 1, "generator.learning_rate", self.learning_rate, "between 0 and 1")
        for name in ("vq_weight", "perceptual_weight", "adversarial_weight", "commitment", "temperature"):
            value = getattr(self, name)
            check(0 <= value <= 100, f"generator.{name}", value, "0 to 100")
        check(self.patience >= 0, "generator.patience", self.patience, "0 or more")
        check(0 <= self.adversarial_start <= 1, "generator.adversarial_start", self.adversarial_start, "0 to 1")
        estimates = self.variance == "estimated"
        check(
            self.batch_size > 1 or not estimates,
            "generator.batch_size",
            self.batch_size,
            "2 or more for generator.variance: estimated",
        )
        check(0 <= self.ema < 1, "generator.ema", self.ema, "0 or more, and less than 1")
        check_seed(self.seed)
        self._check_weights()

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole loop."""
        return self.iterations * self.steps

    @property
    def untrained(self) -> bool:
        """Whether the loop starts without pretrained weights."""
        return self.weights == UNTRAINED

    @property
    def reference(self) -> str:
        """Reference to the pretrained weights, as `components.weights` takes it; empty where it starts untrained."""
        if self.untrained:
            return ""
        return BASES[self.architecture] if self.weights == BASE else self.weights

    @property
    def origin(self) -> str:
        """What the loop starts from, for reports: an address without its digest."""
        return "untrained" if self.untrained else self.reference.partition("#")[0]

    def _check_weights(self) -> None:
        if self.weights == BASE:
            bases = f"a reference such as PATH#sha256=HEX, or {UNTRAINED}: no base ships for {self.architecture}"
            check(self.architecture in BASES, "generator.weights", self.weights, bases)
            codes = f"{BASE_CODES}, as in the base model; generator.weights: {UNTRAINED} takes any"
            check(self.codebook_size == BASE_CODES, "generator.codebook_size", self.codebook_size, codes)
        if self.architecture == STORED:
            check(not self.untrained, "generator.weights", self.weights, "a reference; the file says the architecture")
        check(bool(self.weights), "generator.weights", self.weights, f"{BASE}, {UNTRAINED} or a reference")
        if self.patience:
            check_embedder(self.embedder, self.embedder_weights)
