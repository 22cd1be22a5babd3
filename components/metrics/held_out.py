"""Which good images are held out of a bank of good patches, where no detector is trained."""

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from components.metrics.validation import standard_error

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

HIGHEST = 0.01
"""Share of an image's patches, those with the highest distances, that decide how anomalous it seems."""
FOLDS = 5
"""Most parts into which the given images are divided, to be held out in turn."""
_MOST_HELD_OUT, _MOST_DEFECTS = 10, 40


@dataclass(frozen=True)
class Fold:
    """Good images that a bank is made of, and others that it is asked about."""

    kept: tuple[str, ...]
    held_out: tuple[str, ...]


def folds(given: Sequence[str], calibration: Sequence[str], most: int = FOLDS) -> list[Fold]:
    """The calibration images held out of all given ones, or else the given ones held out in turn, in `most` parts.

    Empty for one given image alone, of which nothing can be held out.
    """
    if calibration:
        return [Fold(tuple(given), tuple(calibration))]
    count = min(most, len(given)) if len(given) > 1 else 0
    parts = [tuple(given[start::count]) for start in range(count)]
    return [Fold(tuple(id for id in given if id not in part), part) for part in parts]


def bounded(found: Sequence[Fold], most_kept: int, eligible: Container[str]) -> list[Fold]:
    """Folds with their first `most_kept` kept images, and of the eligible held-out ones as many as are compared.

    Those are ten in all folds, but one of each at least. A fold without an eligible one is left out.
    """
    most = max(1, _MOST_HELD_OUT // max(1, len(found)))
    shown = [Fold(fold.kept[:most_kept], tuple(id for id in fold.held_out if id in eligible)[:most]) for fold in found]
    return [fold for fold in shown if fold.held_out]


def spread_defects(ids: Sequence[str], parts: int) -> list[str]:
    """Synthetic defects of one of some parts, taken evenly from all of its own so that the parts have 40 together."""
    return list(ids[:: max(1, -(-len(ids) * parts // _MOST_DEFECTS))])


@dataclass(frozen=True, kw_only=True)
class PatchDistances:
    """Distances of patches to a bank, by the good image that they are of: the same images for all banks."""

    good: "Mapping[str, Floats]"
    """Of all patches of held-out good images."""
    bad: "Mapping[str, Floats]"
    """Of the patches inside synthetic defects on them."""

    @property
    def auroc(self) -> float:
        """AUROC of the patches inside defects against the `HIGHEST` of each good image, a half for ties."""
        return self._auroc(list(self.good))

    def without_one(self) -> list[float]:
        """AUROC without each good image in turn and the defects on it."""
        return [self._auroc([other for other in self.good if other != one]) for one in self.good]

    def united(self, other: "PatchDistances") -> "PatchDistances":
        """To the bank of both banks' patches: of each patch the smaller distance."""
        import numpy as np

        good = {id: np.minimum(distances, other.good[id]) for id, distances in self.good.items()}
        bad = {id: np.minimum(distances, other.bad[id]) for id, distances in self.bad.items()}
        return PatchDistances(good=good, bad=bad)

    def is_better_than(self, other: "PatchDistances") -> bool:
        """Whether this bank's AUROC is higher by more than the standard error of the difference."""
        return self.auroc - other.auroc > self.difference_error(other)

    def difference_error(self, other: "PatchDistances") -> float:
        """Jackknife's standard error of the difference to another bank's AUROC, paired by the good images."""
        pairs = zip(self.without_one(), other.without_one(), strict=True)
        return standard_error([own - theirs for own, theirs in pairs])

    @cached_property
    def _highest(self) -> "dict[str, Floats]":
        """The highest distances of each good image."""
        import numpy as np

        return {id: np.sort(distances)[-math.ceil(HIGHEST * len(distances)) :] for id, distances in self.good.items()}

    def _auroc(self, images: Sequence[str]) -> float:
        import numpy as np

        good = np.sort(np.concatenate([self._highest[id] for id in images]))
        bad = np.concatenate([self.bad[id] for id in images])
        below = (np.searchsorted(good, bad, "left") + np.searchsorted(good, bad, "right")) / 2
        return float(below.mean() / len(good))
