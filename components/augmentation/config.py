"""Settings of the augmentation stage."""

from dataclasses import dataclass

from components.errors import check, check_seed

POLICIES = ("photometric", "autoaugment", "randaugment", "rotations")


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of augmentation: I^o to I_1 ... I_N (paper section 4.1)."""

    policy: str = "photometric"
    """`photometric` keeps every pixel in its place but for moves of a pixel or two; `autoaugment`, `randaugment`
    and `rotations` move pixels, which blurs the mean latent of Eq. 3."""
    images: int = 16
    """N, spread evenly over the given images; raised to two for each where it is fewer."""
    strength: float = 1.0
    """Scale of the photometric jitter; 0 copies the image."""
    seed: int = 0
    """Draws every augmentation."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(self.policy in POLICIES, "augmentation.policy", self.policy, f"one of {', '.join(POLICIES)}")
        check(1 <= self.images <= 1000, "augmentation.images", self.images, "1 to 1000")
        check(0 <= self.strength <= 3, "augmentation.strength", self.strength, "0 to 3")
        check_seed(self.seed)
