"""Settings of the augmentation stage."""

from dataclasses import dataclass

from components.errors import check, check_seed

AUTOAUGMENT = "autoaugment"
ROTATIONS = "rotations"
POLICIES = ("photometric", AUTOAUGMENT, "randaugment", ROTATIONS)


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of augmentation: I^o to I_1 ... I_N (paper section 4.1)."""

    policy: str = "photometric"
    """`photometric` keeps every pixel in its place but for moves of a pixel or two; `autoaugment`, `randaugment`
    and `rotations` move pixels, which blurs the mean latent of Eq. 3. `rotations`, by any angle, makes good images only
    of a part that lies in any direction: see `orientation_free`."""
    images: int = 16
    """N, spread evenly over the given images; raised to two for each where it is fewer."""
    strength: float = 1.0
    """Scale of the photometric jitter, 0 copies the image; with `randaugment`, of its magnitude, 9 of 30 at 1.
    `rotations` ignores it, and `autoaugment` has fixed magnitudes and takes 1 alone."""
    orientation_free: bool = False
    """States that a good part may lie in any direction (a nut, a nozzle; not a transistor in its socket)."""
    seed: int = 0
    """Draws every augmentation."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(self.policy in POLICIES, "augmentation.policy", self.policy, f"one of {', '.join(POLICIES)}")
        expected = "another policy, or augmentation.orientation_free: true for a part that lies in any direction"
        check(self.policy != ROTATIONS or self.orientation_free, "augmentation.policy", self.policy, expected)
        check(1 <= self.images <= 1000, "augmentation.images", self.images, "1 to 1000")
        check(0 <= self.strength <= 3, "augmentation.strength", self.strength, "0 to 3")
        expected = f"1: the magnitudes of {AUTOAUGMENT} are fixed"
        check(self.policy != AUTOAUGMENT or self.strength == 1, "augmentation.strength", self.strength, expected)
        check_seed(self.seed)
