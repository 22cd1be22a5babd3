"""Which good images are held out of a bank of good patches, where no detector is trained."""

from collections.abc import Sequence
from dataclasses import dataclass

FOLDS = 5
"""Most parts into which the given images are divided, to be held out in turn."""


@dataclass(frozen=True)
class Fold:
    """Good images that a bank is made of, and others that it is asked about."""

    kept: tuple[str, ...]
    held_out: tuple[str, ...]


def folds(given: Sequence[str], calibration: Sequence[str]) -> list[Fold]:
    """The calibration images held out of all given ones, or else the given ones held out in turn.

    Empty for one given image alone, of which nothing can be held out.
    """
    if calibration:
        return [Fold(tuple(given), tuple(calibration))]
    count = min(FOLDS, len(given)) if len(given) > 1 else 0
    parts = [tuple(given[start::count]) for start in range(count)]
    return [Fold(tuple(id for id in given if id not in part), part) for part in parts]
