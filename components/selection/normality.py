"""What generated images add to a bank of good patches: coverage of unseen good images, and harm.

The bank holds the patches of given images. An image adds coverage as far as the patches of good images that are not in
the bank come nearer by it, and does harm as far as those inside the masks of synthetic defects do: both as a share of
their mean distance to the bank. An image is kept where its coverage is more than its harm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from components.artifacts import ImageSet, candidate_sources, read_candidates, to_tensor
from components.metrics.held_out import Fold, bounded, folds, spread_defects
from components.networks.patches import PatchNetwork, distances_to, inside_masks, reduced
from components.preprocessing.transform import preprocessing_of

_MOST_KEPT = 32

Distances = tuple[Tensor, Tensor]
"""Of a fold's good patches [n], and of its patches inside defects [m], to the nearest patch of something."""


@dataclass(frozen=True, kw_only=True)
class SetNormality:
    """What the kept images of a set add together."""

    kept: tuple[int, ...] = ()
    """Positions of the images with more coverage than harm."""
    coverage: float = 0.0
    """From 0 to 1, on average over the folds."""
    harm: float = 0.0
    """As `coverage`."""


@dataclass(frozen=True)
class _Asked:
    """Patches of good images that are not in a bank, those inside synthetic defects on them, and their distances."""

    fold: Fold
    good: Tensor
    bad: Tensor
    base: Distances

    def distances(self, bank: Tensor) -> Distances:
        """To a bank [k, dim]."""
        return distances_to(bank, self.good), distances_to(bank, self.bad)

    def shares(self, added: Distances) -> tuple[float, float]:
        """Coverage and harm of what has these distances."""
        pairs = zip(self.base, added, strict=True)
        nearer = [1 - float(torch.minimum(own, new).mean() / own.mean().clamp(min=1e-12)) for own, new in pairs]
        return nearer[0], nearer[1]


class Normality:
    """Rates generated images by the good images that a line holds out, and by the synthetic defects on them."""

    def __init__(self, reference: str | Path, synthetic: str | Path) -> None:
        """Compare the held-out images with the banks.

        The calibration images are held out where there are any. Else it is the given images in turn, and an image that
        was sampled around one of them, or around an unknown one, is not rated by that one.
        """
        self._reference, self._synthetic = ImageSet(reference), ImageSet(synthetic)
        self._preprocessing = preprocessing_of(self._reference)
        self._network = PatchNetwork()
        given, calibration = (self._reference.ids(split, "good") for split in ("train", "calibration"))
        self._given_are_asked = not calibration
        found = bounded(folds(given, calibration), _MOST_KEPT, set(self._synthetic.manifest["source"]))
        self._asked = [self._ask(fold, len(found)) for fold in found]

    @property
    def available(self) -> bool:
        """Whether good images with synthetic defects are held out."""
        return bool(self._asked)

    def rate(self, candidates: str | Path, iteration: int, images: int = 0) -> SetNormality:
        """Rate the set of an iteration, or its first images."""
        arrays = read_candidates(candidates, iteration)
        sources = candidate_sources(candidates, iteration) or [""] * len(arrays)
        rated = []
        for array, source in zip(islice(arrays, images or None), sources, strict=False):
            patches = self._network.fine(reduced(to_tensor([array])))[0]
            rated.append([one.distances(patches) if self._may_rate(one, source) else None for one in self._asked])
        kept = [index for index, distances in enumerate(rated) if _gain(self._shares(distances)) > 0]
        if not kept:
            return SetNormality()
        together = [_nearest([rated[index][place] for index in kept]) for place in range(len(self._asked))]
        coverage, harm = _means(self._shares(together))
        return SetNormality(kept=tuple(kept), coverage=coverage, harm=harm)

    def _may_rate(self, asked: _Asked, source: str) -> bool:
        return not self._given_are_asked or source in asked.fold.kept

    def _shares(self, distances: Sequence[Distances | None]) -> list[tuple[float, float]]:
        """Coverage and harm by each fold that rates what has these distances."""
        pairs = zip(self._asked, distances, strict=True)
        return [one.shares(found) for one, found in pairs if found is not None]

    def _ask(self, fold: Fold, count: int) -> _Asked:
        """What is asked about in one of some folds."""
        good = self._patches(self._reference, fold.held_out).flatten(0, 1)
        manifest = self._synthetic.manifest
        own = spread_defects([str(id) for id in manifest[manifest["source"].isin(fold.held_out)]["id"]], count)
        bad = self._patches(self._synthetic, own)[self._marked(own)]
        bank = self._patches(self._reference, fold.kept).flatten(0, 1)
        return _Asked(fold, good, bad, (distances_to(bank, good), distances_to(bank, bad)))

    def _patches(self, images: ImageSet, ids: Sequence[str]) -> Tensor:
        """Patches [n, p, dim] of images, of their tiles in a tiled line."""
        pieces = reduced(self._preprocessing.cut(images.tensor(ids)))
        return self._network.fine(pieces)

    def _marked(self, ids: Sequence[str]) -> Tensor:
        """Which patches [n, p] of synthetic defects lie inside their masks."""
        masks = []
        for id in ids:
            mask = self._synthetic.mask(id)
            assert mask is not None, id
            masks.append(torch.from_numpy(mask).float())
        return inside_masks(reduced(self._preprocessing.cut(torch.stack(masks).unsqueeze(1))))


def _gain(shares: Sequence[tuple[float, float]]) -> float:
    """Coverage less harm; 0 where no fold rates."""
    if not shares:
        return 0.0
    coverage, harm = _means(shares)
    return coverage - harm


def _means(shares: Sequence[tuple[float, float]]) -> tuple[float, float]:
    coverage, harm = zip(*shares, strict=True)
    return sum(coverage) / len(shares), sum(harm) / len(shares)


def _nearest(distances: Sequence[Distances | None]) -> Distances | None:
    """Distances to the nearest patch of several images, without those that are not rated."""
    known = [found for found in distances if found is not None]
    if not known:
        return None
    good, bad = zip(*known, strict=True)
    return torch.stack(good).amin(dim=0), torch.stack(bad).amin(dim=0)
