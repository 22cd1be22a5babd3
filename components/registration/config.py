"""Settings of the registration stage."""

from dataclasses import dataclass

from components.comparison import METRICS
from components.errors import check


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which detector of a run is registered."""

    metric: str = "image_auroc"
    """Metric by which detectors are compared."""
    min_gain: float = 0.0
    """Least gain over the best other set for a detector trained on generated images to win."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(self.metric in METRICS, "gate.metric", self.metric, f"one of {', '.join(METRICS)}")
        check(0 <= self.min_gain <= 1, "gate.min_gain", self.min_gain, "0 to 1")
