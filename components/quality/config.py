"""Settings of the quality stage."""

from dataclasses import dataclass

from components.errors import check_seed
from components.networks.embedding import CONSE, check_embedder


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured of an image set, and with which networks (paper Table 2 and Fig. 2)."""

    inception: str = ""
    """Reference to the Inception weights of IS, FID and KID (`inception` in the manifest); these are not computed where
    it is empty."""
    lpips_backbone: str = ""
    """Reference to torchvision's VGG16 weights (`vgg16` in the manifest); LPIPS is not computed where it is empty."""
    fid: bool = False
    """Compute FID, the Frechet distance of Inception's features; takes 10 s or more of a processor."""
    kid: bool = False
    """Compute KID, the kernel distance of Inception's features."""
    embedder: str = CONSE
    """`conse`, or `open_clip:ARCHITECTURE`; f of the paper, for the similarity to the given images."""
    embedder_weights: str = ""
    """Reference to CLIP weights; empty for `conse`."""
    seed: int = 0
    """Draws the subsets of KID."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: the seed is out of its range, or the embedder and its weights do not fit.
        """
        check_embedder(self.embedder, self.embedder_weights)
        check_seed(self.seed)
