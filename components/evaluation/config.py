"""Settings of the evaluation stage."""

from dataclasses import dataclass

from components.errors import check


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of evaluation."""

    aupro_limit: float = 0.3
    """False positive rate up to which the per-region overlap is integrated."""
    latency_images: int = 20
    """Test images timed one by one for the latency, and together for the throughput."""

    spro_limit: float = 0.0
    """False positive rate up to which the saturated per-region overlap (sPRO) of MVTec LOCO AD is integrated; 0 leaves
    it out. 0.05 is the published limit."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(0 < self.aupro_limit <= 1, "evaluation.aupro_limit", self.aupro_limit, "above 0, at most 1")
        check(1 <= self.latency_images <= 1000, "evaluation.latency_images", self.latency_images, "1 to 1000")
        check(0 <= self.spro_limit <= 1, "evaluation.spro_limit", self.spro_limit, "0 for no sPRO, at most 1")
