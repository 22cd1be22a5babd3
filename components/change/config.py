"""What counts as a change of a line's good images, and with what it is measured."""

from typing import Annotated, ClassVar

from pydantic import Field

from components.settings import Expected, Fraction, Seed, Settings, Share

BACKBONE = "efficientnet-lite0"
"""Backbone whose averaged features are compared, unless another is given."""
MAX_IMAGES = 300
"""Most images of either set that are compared, unless another number is given."""


class ChangeLimits(Settings):
    """What counts as a change; a change is both unlikely by chance and large enough to matter."""

    section: ClassVar = "drift"

    alpha: Fraction = 0.05
    """Probability of a hint where nothing has changed, over all tests together (Bonferroni)."""
    min_shift: Annotated[float, Field(ge=0, le=100), Expected("{} standard deviations")] = 0.25
    """Least distance of the mean features, in standard deviations of the reference."""
    min_superiority: Annotated[float, Field(ge=0.5, le=1)] = 0.6
    """Least probability that a new good image scores higher than one of the reference; 0.5 where nothing differs."""
    max_false_alarm_rate: Share = 0.05
    """Share of new good images over the detector's threshold that is accepted in any case."""
    permutations: Annotated[int, Field(ge=99, le=100_000)] = 1999
    """Random permutations of each test."""
    seed: Seed = 0
    """Draws the permutations, and the images where there are too many."""
