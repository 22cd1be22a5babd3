"""Settings of the augmentation stage."""

from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from components.errors import check
from components.networks.patches import BACKBONE
from components.settings import EITHER, SEPARATOR, Expected, Seed, Settings, parts_of

AUTOAUGMENT, RANDAUGMENT = "autoaugment", "randaugment"
ROTATIONS = "rotations"
SHIFTS, FLIPS, SMALL_ROTATIONS, SCALE = "shifts", "flips", "small_rotations", "scale"
HUE, CHANNELS = "hue", "channels"
AUTO = "auto"
DRAWN = ("photometric", AUTOAUGMENT, RANDAUGMENT, ROTATIONS, SHIFTS, FLIPS, SMALL_ROTATIONS, SCALE, HUE, CHANNELS)
"""Policies that are a way to draw images."""

_ONE = "|".join(DRAWN)
_JOINED = rf"({_ONE})(\{SEPARATOR}({_ONE}))*"
_PATTERN = rf"^({AUTO}|{_JOINED}(\{EITHER}{_JOINED})*)$"
_EXPECTED = (
    f"one of {', '.join((*DRAWN, AUTO))}, or several but {AUTO}, each once, "
    f"joined by {SEPARATOR} (one after the other) or {EITHER} (images of each)"
)


def policy_alternatives(name: str) -> tuple[tuple[str, ...], ...]:
    """Policies such as `hue` and `rotations+scale` of `hue|rotations+scale`, which make images of their own.

    Each as those that it applies one after the other. `InputError` for an unknown one, and for one that comes twice.
    """
    if name == AUTO:
        return ((AUTO,),)
    alternatives = tuple(parts_of(alternative, DRAWN) for alternative in name.split(EITHER))
    different = len({frozenset(parts) for parts in alternatives}) == len(alternatives)
    check(all(alternatives) and different, "augmentation.policy", name, _EXPECTED)
    return alternatives


def _known_policy(name: str) -> str:
    policy_alternatives(name)
    return name


class Config(Settings):
    """Settings of augmentation: I^o to I_1 ... I_N (paper section 4.1)."""

    section: ClassVar = "augmentation"

    policy: Annotated[
        str, Field(json_schema_extra={"pattern": _PATTERN}), AfterValidator(_known_policy), Expected(_EXPECTED)
    ] = "photometric"
    """`photometric` keeps every pixel in its place but for moves of a pixel or two; the others move pixels, which blurs
    the mean latent of Eq. 3. `shifts` (by 2, 4 or 6 pixels: all phases of a detector's grid), `small_rotations` (5
    degrees), `scale` (5 %), `flips` (along either axis, and both), `hue` (any) and `channels` (the colour channels in
    every other order; both of a part that comes in several colours); `rotations`, in steps of 22.5 degrees, makes good
    images only of a part that lies in any direction: see `orientation_free`. Of several joined by `|`, such as
    `hue|shifts`, each makes images of its own; several joined by `+`, such as `rotations+scale`, are applied one after
    the other, those that make a limited number of images in all combinations. `auto` chooses one of these seven for the
    line, or up to three of them joined by `|`, by how well they help to know unseen good images from synthetic defects;
    it takes two held-out good images."""
    images: Annotated[int, Field(ge=1, le=1000)] = 16
    """N, number of augmented images of each given image by each policy that `|` joins; fewer where that would be more
    than 1000 in all, or where one makes no more (`shifts` and `rotations` 15, `channels` 5, `flips` 3), but at least
    two of each given image."""
    strength: Annotated[float, Field(ge=0, le=3)] = 1.0
    """Scale of the photometric jitter and of the small moves, 0 copies the image; with `randaugment`, of its
    magnitude, 9 of 30 at 1. `rotations`, `shifts`, `flips`, `hue` and `channels` ignore it, and `autoaugment` has fixed
    magnitudes and takes 1 alone."""
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
        parts = {part for alternative in policy_alternatives(self.policy) for part in alternative}
        expected = "another policy, or augmentation.orientation_free: true for a part that lies in any direction"
        check(ROTATIONS not in parts or self.orientation_free, "augmentation.policy", self.policy, expected)
        expected = f"1: the magnitudes of {AUTOAUGMENT} are fixed"
        check(AUTOAUGMENT not in parts or self.strength == 1, "augmentation.strength", self.strength, expected)
        return self
