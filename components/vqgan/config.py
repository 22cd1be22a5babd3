"""Settings of the vqgan stage."""

from dataclasses import dataclass

from components.errors import check, check_seed

ARCHITECTURES = ("small", "f16")
CENTERS = ("mean", "own")
VARIANCES = ("estimated", "unit", "none")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of the variance-aware image generator and its fine-tuning loop (paper sections 4.1.2, 4.2)."""

    architecture: str = "small"
    """`small` (f8, 2.9 M parameters) or `f16` (taming-transformers' ImageNet model, 72 M parameters)."""
    weights: str = ""
    """Reference to pretrained weights under diffusers' key names; empty starts untrained."""
    codebook_size: int = 512
    """K, number of codebook vectors; pretrained weights must have as many."""
    iterations: int = 8
    """L, number of candidate sets."""
    images: int = 16
    """M, number of images in each set."""
    steps: int = 15
    """Optimiser steps in each iteration."""
    batch_size: int = 4
    """Augmented images in each step, and as many generated ones."""
    learning_rate: float = 1e-3
    """Adam's step size for generator and discriminator."""
    vq_weight: float = 1.0
    """Lambda of Eq. 7."""
    perceptual_weight: float = 1.0
    """Weight of the perceptual distance in L_vq."""
    adversarial_weight: float = 0.8
    """Weight of the adversarial term in L_vq, on top of the adaptive weight."""
    adversarial_start: int = 90
    """Step from which the discriminator is trained and used; earlier steps have no adversarial term."""
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
        check(self.center in CENTERS, "generator.center", self.center, f"one of {CENTERS}")
        check(self.variance in VARIANCES, "generator.variance", self.variance, f"one of {VARIANCES}")
        counts = {"codebook_size": 65536, "iterations": 1000, "images": 1000, "steps": 100_000, "batch_size": 256}
        for name, most in counts.items():
            value = getattr(self, name)
            check(1 <= value <= most, f"generator.{name}", value, f"1 to {most}")
        check(0 < self.learning_rate < 1, "generator.learning_rate", self.learning_rate, "between 0 and 1")
        for name in ("vq_weight", "perceptual_weight", "adversarial_weight", "commitment", "temperature"):
            value = getattr(self, name)
            check(0 <= value <= 100, f"generator.{name}", value, "0 to 100")
        check(self.adversarial_start >= 0, "generator.adversarial_start", self.adversarial_start, "0 or more")
        check_seed(self.seed)
