"""The image's score out of its anomaly map."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

MAXIMUM, TOP = "max", "top1"
IMAGE_SCORES = (MAXIMUM, TOP)
"""The highest value of the map, or the mean of its highest hundredth."""
_SHARE = 100


def highest(values: "Tensor", image_score: str) -> "Tensor":
    """Scores [n] of the values [n, ...] of maps, by one of `IMAGE_SCORES`; a hundredth is at least one value."""
    flat = values.flatten(1)
    if image_score == MAXIMUM:
        return flat.amax(dim=1)
    return flat.topk(max(1, flat.shape[1] // _SHARE), dim=1).values.mean(dim=1)
