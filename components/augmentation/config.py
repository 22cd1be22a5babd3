"""Settings of the augmentation stage."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.errors import check
from components.settings import OneOf, Seed, Settings

AUTOAUGMENT = "autoaugment"
ROTATIONS = "rotations"
POLICIES = ("photometric", AUTOAUGMENT, "randaugment", ROTATIONS)


class Config(Settings):
    """Settings of augmentation: I^o to I_1 ... I_N (paper section 4.1)."""

    section: ClassVar = "augmentation"

    policy: Annotated[str, OneOf(POLICIES)] = "photometric"
    """`photometric` keeps every pixel in its place but for moves of a pixel or two; `autoaugment`, `randaugment`
    and `rotations` move pixels, which blurs the mean latent of Eq. 3. `rotations`, by any angle, makes good images only
    of a part that lies in any direction: see `orientation_free`."""
    images: Annotated[int, Field(ge=1, le=1000)] = 16
    """N, number of augmented images of each given image; fewer where that would be more than 1000 in all, but at least
    two."""
    strength: Annotated[float, Field(ge=0, le=3)] = 1.0
    """Scale of the photometric jitter, 0 copies the image; with `randaugment`, of its magnitude, 9 of 30 at 1.
    `rotations` ignores it, and `autoaugment` has fixed magnitudes and takes 1 alone."""
    orientation_free: bool = False
    """A good part may lie in any direction (a nut, a nozzle; not a transistor in its socket)."""
    seed: Seed = 0
    """Draws every augmentation."""

    @model_validator(mode="after")
    def _check_policy(self) -> Self:
        expected = "another policy, or augmentation.orientation_free: true for a part that lies in any direction"
        check(self.policy != ROTATIONS or self.orientation_free, "augmentation.policy", self.policy, expected)
        expected = f"1: the magnitudes of {AUTOAUGMENT} are fixed"
        check(self.policy != AUTOAUGMENT or self.strength == 1, "augmentation.strength", self.strength, expected)
        return self
