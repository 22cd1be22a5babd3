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

    from components.metrics.image import Labels, Scores

    Values = npt.NDArray[np.float64]


def area_under_spro(maps: "Scores", masks: "Labels", regions: Sequence[Sequence[Region]], limit: float) -> float:
    """Area under sPRO over the false positive rate, up to a rate and divided by it: 0 to 1.

    The rate is that of all pixels, of good and bad images, that neither a mask nor a region covers.

    Args:
        maps: anomaly maps [n, height, width], higher is more anomalous.
        masks: defect masks [n, height, width]; all False for a good image.
        regions: regions of each image; at least one in all.
        limit: the false positive rate, above 0 and at most 1.
    """
    import numpy as np

    rates, overlaps = spro_curve(maps, masks, regions, limit)
    stop = int(np.searchsorted(rates, limit))
    share = (limit - rates[stop - 1]) / (rates[stop] - rates[stop - 1])
    end = overlaps[stop - 1] + share * (overlaps[stop] - overlaps[stop - 1])
    return float(np.trapezoid([*overlaps[:stop], end], [*rates[:stop], limit])) / limit


def spro_curve(
    maps: "Scores", masks: "Labels", regions: Sequence[Sequence[Region]], limit: float
) -> "tuple[Values, Values]":
    """False positive rates and sPRO at every threshold, from (0, 0) to the first rate that reaches the limit.

    Arguments as for `area_under_spro`.
    """
    import numpy as np

    good = maps[~_covered(masks, regions)]
    needed = min(int(limit * good.size) + 1, good.size)
    lowest = np.partition(good, -needed)[-needed]
    alarms = good[good >= lowest]
    found = [
        _overlap_steps(image[region.mask], region.saturation)
        for image, own in zip(maps, regions, strict=True)
        for region in own
    ]
    scores = np.concatenate([alarms, *(score for score, _ in found)])
    called_good = np.concatenate([np.ones(alarms.size, dtype=int), np.zeros(scores.size - alarms.size, dtype=int)])
    overlap_steps = np.concatenate([np.zeros(alarms.size), *(step for _, step in found)])
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) < 0, True) & (scores[order] >= lowest)
    rates = np.cumsum(called_good[order])[last_of_score] / good.size
    overlaps = np.cumsum(overlap_steps[order])[last_of_score] / len(found)
    return np.insert(rates, 0, 0.0), np.insert(overlaps, 0, 0.0)


def _covered(masks: "Labels", regions: Sequence[Sequence[Region]]) -> "Labels":
    """Pixels of a mask or a region; regions that are less than half a pixel wide reach farther than their mask."""
    covered = masks.copy()
    for index, own in enumerate(regions):
        for region in own:
            covered[index] |= region.mask
    return covered


def _overlap_steps(scores: "Scores", saturation: float) -> "tuple[Scores, Values]":
    """Scores of a region's pixels, highest first, and what each of them adds to the saturated overlap."""
    import numpy as np

    overlap = np.minimum(np.arange(scores.size + 1) / (saturation * scores.size), 1.0)
    return np.sort(scores)[::-1], np.diff(overlap)
