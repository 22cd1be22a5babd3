"""Saturated per-region overlap, sPRO, and the area under its curve.

Source: Bergmann, Batzner, Fauser, Sattlegger and Steger, "Beyond Dents and Scratches: Logical Constraints in
Unsupervised Anomaly Detection and Localization", IJCV 130, 2022. Of a region A with the saturation threshold s, a
prediction P finds min(|A and P| / s, 1). sPRO is the mean over all regions, and is PRO where s is the area of A.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.artifacts import Region

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from components.metrics.measures import Labels, Scores

    Values = npt.NDArray[np.float64]


def area_under_spro(maps: "Scores", masks: "Labels", regions: Sequence[Sequence[Region]], limit: float) -> float:
    """Area under sPRO over the false positive rate, up to a rate and divided by it: 0 to 1.

    The rate is that of all pixels, of good and bad images, that neither a mask nor a region covers; its limit is above
    0 and at most 1. Anomaly maps and defect masks are [n, height, width], the mask of a good image all False; of the
    images' regions there is at least one in all.
    """
    return area_up_to(limit, *spro_curve(maps, masks, regions, limit))


def area_up_to(limit: float, rates: "Values", overlaps: "Values") -> float:
    """Area under a curve from (0, 0) up to a rate that it reaches, divided by that rate."""
    import numpy as np

    stop = int(np.searchsorted(rates, limit))
    share = (limit - rates[stop - 1]) / (rates[stop] - rates[stop - 1])
    end = overlaps[stop - 1] + share * (overlaps[stop] - overlaps[stop - 1])
    return float(np.trapezoid([*overlaps[:stop], end], [*rates[:stop], limit])) / limit


def spro_curve(
    maps: "Scores", masks: "Labels", regions: Sequence[Sequence[Region]], limit: float
) -> "tuple[Values, Values]":
    """False positive rates and sPRO at every threshold, from (0, 0) to the first rate that reaches the limit."""
    import numpy as np

    covered, found = masks.copy(), []
    for index, own in enumerate(regions):
        for region in own:
            covered[index] |= region.mask  # a region less than half a pixel wide reaches farther than its mask
            found.append(saturated_steps(maps[index], region))
    good = maps[~covered]
    needed = min(int(limit * good.size) + 1, good.size)
    lowest = np.partition(good, -needed)[-needed]
    alarms = good[good >= lowest]
    scores = np.concatenate([alarms, *(score for score, _ in found)])
    called_good = np.concatenate([np.ones(alarms.size, dtype=int), np.zeros(scores.size - alarms.size, dtype=int)])
    overlap_steps = np.concatenate([np.zeros(alarms.size), *(step for _, step in found)])
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) < 0, True) & (scores[order] >= lowest)
    rates = np.cumsum(called_good[order])[last_of_score] / good.size
    overlaps = np.cumsum(overlap_steps[order])[last_of_score] / len(found)
    return np.insert(rates, 0, 0.0), np.insert(overlaps, 0, 0.0)


def saturated_steps(map: "Scores", region: Region) -> "tuple[Scores, Values]":
    """Values of a map [height, width] inside a region, highest first, and the overlap that each adds to it."""
    import numpy as np

    inside = np.sort(map[region.mask])[::-1]
    overlap = np.minimum(np.arange(inside.size + 1) / (region.saturation * inside.size), 1.0)
    return inside, np.diff(overlap)
