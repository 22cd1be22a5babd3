"""Settings of the quality stage."""

from typing import ClassVar

from components.generator.config import PERCEPTUAL_NETWORK
from components.networks.config import EmbedderConfig
from components.settings import Seed


class Config(EmbedderConfig):
    """What is measured of an image set, and with which networks (paper Table 2 and Fig. 2)."""

    section: ClassVar = "quality"

    inception: str = ""
    """Reference to the Inception weights of IS, FID and KID (`inception` in the manifest); these are not computed where
    it is empty."""
    lpips_backbone: str = ""
    """Reference to torchvision's VGG16 weights (`vgg16` in the manifest); LPIPS is not computed where it is empty."""
    fid: bool = False
    """Compute FID, the Frechet distance of Inception's features; takes 10 s or more of a processor."""
    kid: bool = False
    """Compute KID, the kernel distance of Inception's features."""
    seed: Seed = 0
    """Draws the subsets of KID."""

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`."""
        optional = (reference for reference in (self.inception, self.lpips_backbone) if reference)
        return (*super().references, PERCEPTUAL_NETWORK, *optional)
