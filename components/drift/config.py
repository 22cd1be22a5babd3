"""Settings of the drift stage."""

from typing import Annotated

from pydantic import Field

from components.change.config import BACKBONE, MAX_IMAGES, ChangeLimits
from components.networks.backbones import BACKBONES
from components.settings import OneOf


class Config(ChangeLimits):
    """What is measured, and what counts as drift."""

    backbone: Annotated[str, OneOf(BACKBONES)] = BACKBONE
    """ImageNet backbone whose averaged features are compared."""
    max_images: Annotated[int, Field(ge=2, le=5000)] = MAX_IMAGES
    """Most images of either set that are compared; more are drawn from by the seed."""

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`."""
        return (self.backbone,)
