"""Settings of the drift stage."""

from dataclasses import dataclass

from components.change.good_images import BACKBONE, MAX_IMAGES
from components.change.rule import Limits
from components.errors import check
from components.networks.backbones import BACKBONES


@dataclass(frozen=True, kw_only=True)
class Config(Limits):
    """What is measured, and what counts as drift."""

    backbone: str = BACKBONE
    """ImageNet backbone whose averaged features are compared."""
    max_images: int = MAX_IMAGES
    """Most images of either set that are compared; more are drawn from by the seed."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        super().__post_init__()
        check(self.backbone in BACKBONES, "drift.backbone", self.backbone, f"one of {', '.join(BACKBONES)}")
        check(2 <= self.max_images <= 5000, "drift.max_images", self.max_images, "2 to 5000")
