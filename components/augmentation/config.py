"""Settings of the augmentation stage."""

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from components.errors import check
from components.networks.patches import BACKBONE
from components.settings import OneOf, Seed, Settings

AUTOAUGMENT, RANDAUGMENT = "autoaugment", "randaugment"
ROTATIONS = "rotations"
SHIFTS, FLIPS, SMALL_ROTATIONS, SCALE = "shifts", "flips", "small_rotations", "scale"
AUTO = "auto"
DRAWN = ("photometric", AUTOAUGMENT, RANDAUGMENT, ROTATIONS, SHIFTS, FLIPS, SMALL_ROTATIONS, SCALE)
"""Policies that are a way to draw images."""
POLICIES = (*DRAWN, AUTO)


class Config(Settings):
    """Settings of augmentation: I^o to I_1 ... I_N (paper section 4.1)."""

    section: ClassVar = "augmentation"

    policy: Annotated[str, OneOf(POLICIES)] = "photometric"
    """`photometric` keeps every pixel in its place but for moves of a pixel or two; the others move pixels, which blurs
    the mean latent of Eq. 3. `shifts` (by 2, 4 or 6 pixels: all phases of a detector's grid), `small_rotations` (5
    degrees), `scale` (5 %) and `flips` (along either axis, and both); `rotations`, by any angle, makes good images only
    of a part that lies in any direction: see `orientation_free`. `auto` chooses one of these five for the line, by how
    well they help to know unseen good images from synthetic defects; it takes two held-out good images."""
    images: Annotated[int, Field(ge=1, le=1000)] = 16
    """N, number of augmented images of each given image; fewer where that would be more than 1000 in all, or where a
    policy makes no more (`shifts` 15, `flips` 3), but at least two."""
    strength: Annotated[float, Field(ge=0, le=3)] = 1.0
    """Scale of the photometric jitter and of the small moves, 0 copies the image; with `randaugment`, of its
    magnitude, 9 of 30 at 1.
    `rotations`, `shifts` and `flips` ignore it, and `autoaugment` has fixed magnitudes and takes 1 alone."""
    orientation_free: bool = False
    """A good part may lie in any direction (a nut, a nozzle; not a transistor in its socket). With `auto`, false leaves
    it to an estimate: whether rotated images help by more than chance."""
    seed: Seed = 0
    """Draws every augmentation."""

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`."""
        return (BACKBONE,) if self.policy == AUTO else ()

    @model_validator(mode="after")
    def _check_policy(self) -> Self:
        expected = "another policy, or augmentation.orientation_free: true for a part that lies in any direction"
        check(self.policy != ROTATIONS or self.orientation_free, "augmentation.policy", self.policy, expected)
        expected = f"1: the magnitudes of {AUTOAUGMENT} are fixed"
        check(self.policy != AUTOAUGMENT or self.strength == 1, "augmentation.strength", self.strength, expected)
        return self
