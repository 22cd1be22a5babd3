"""Settings of pretraining."""

from dataclasses import dataclass

from components.errors import check, check_seed
from components.vqgan.config import PERCEPTUALS

ARCHITECTURES = ("small", "f16")


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Settings of a base model: a VQGAN trained on the good images of many lines, before any line's own loop."""

    sources: tuple[str, ...]
    """Folders, local or `s3://BUCKET/PREFIX`; every image below them is read."""
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
        check(bool(self.sources), "pretrain.sources", self.sources, "at least one folder or s3://BUCKET/PREFIX")
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
