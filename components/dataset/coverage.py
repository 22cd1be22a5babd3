"""Which images of an unlabelled pool represent it best, and which of them are the oddest.

The first is the medoid of the mean-pooled features. Further ones are added greedily, as in k-medoids' build step: each
is the one that most lowers the mean distance of the pool's patches to their nearest patch of a chosen image. Images
that the others do not explain are never chosen while others are left, and the images that are covered worst do not
count, so that a few bad ones in the pool do no harm.

How odd an image is, is the mutual score of its patches: Li, Huang, Xue and Zhou, "MuSc: Zero-Shot Industrial Anomaly
Classification and Segmentation with Mutual Scoring of the Unlabeled Images", ICLR 2024.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.errors import check
from components.networks.patches import nearest_distances

if TYPE_CHECKING:
    from torch import Tensor

    from components.artifacts import UInt8Image

SIDE = 256
"""Side in pixels at which the images are compared, whatever the size that detectors see."""
MAX_SHOTS = 100
"""Most images that are chosen."""

_REFERENCES = 128
"""Images that are compared with every image of the pool; in a larger pool, evenly spaced from usual to unusual."""
_KEPT_IMAGES = 512
"""Images whose patches, 156 kB each, are kept in memory; of a larger pool, the others are read twice."""
_ROWS = 1024
_MUTUAL_SHARE = 0.3
"""Share of the other images, those that explain a patch best, over which its score is averaged: MuSc's interval."""
_ODDEST_PATCHES = 0.01
_TRIMMED = 0.1
"""Share of the images that do not count: those that lie farthest, or that are covered worst."""
_NEVER_CHOSEN = 0.2
"""Share of the images, the oddest ones, of which none is chosen while others are left."""

Read = Callable[[int], "UInt8Image"]
"""The image of an index of the pool, RGB [SIDE, SIDE, 3]."""
OnImage = Callable[[int, int], None]
"""Called after every image that was compared with its number, counted from 1, and how often it is called."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What was chosen of a pool."""

    shots: tuple[int, ...]
    """Indices of the chosen images, in the order of the choice: the first k are the choice of k images."""
    oddness: tuple[float, ...]
    """Of every image, how far its oddest patches lie from those of the other images; 1 is the pool's median."""
    look_at: tuple[int, ...]
    """Indices of the oddest tenth of the pool, at least one, the oddest first."""


def _ignore(number: int, total: int) -> None:
    """An `OnImage` that does nothing."""


def choose_shots(read: Read, pool_size: int, shots: int, seed: int = 0, on_image: OnImage = _ignore) -> Choice:
    """Choose images out of a pool; the seed decides between images that represent it equally well, and nothing else.

    Memory is bounded whatever the size of the pool, and time is proportional to it.

    Raises:
        InputError: more images are wanted than there are, or more than `MAX_SHOTS`.
    """
    import numpy as np
    import torch

    check(1 <= shots <= min(pool_size, MAX_SHOTS), "shots", shots, f"1 to {min(pool_size, MAX_SHOTS)}")
    pool = _Pool(read)
    pooled = []
    for index in range(pool_size):
        pooled.append(pool.patches(index).mean(dim=0))
        on_image(index + 1, 2 * pool_size)
    remoteness = _trimmed_distances(torch.stack(pooled))
    references = _evenly_spaced(remoteness)
    compared = torch.stack([pool.patches(index) for index in references])
    oddness: list[float] = []
    table: dict[int, Tensor] = {}
    for index in range(pool_size):
        distances = nearest_distances(pool.patches(index), compared)
        oddness.append(_mutual_score(distances, [at for at, other in enumerate(references) if other != index]))
        if index in references:
            table[index] = distances
        on_image(pool_size + index + 1, 2 * pool_size)
    usual = _usual([oddness[index] for index in references], shots)
    ties = np.random.default_rng(seed).permutation(pool_size)[references]
    nearest = torch.stack([table[index] for index in references], dim=1)
    chosen = _greedy(nearest, remoteness[references].tolist(), usual, ties.tolist(), shots)
    median = float(np.median(oddness)) or 1.0
    farthest = sorted(range(pool_size), key=lambda index: (-oddness[index], index))
    return Choice(
        shots=tuple(references[at] for at in chosen),
        oddness=tuple(value / median for value in oddness),
        look_at=tuple(farthest[: max(1, round(_TRIMMED * pool_size))]),
    )


class _Pool:
    """Patch features of the images of a pool, which are read one at a time."""

    def __init__(self, read: Read) -> None:
        from components.networks.patches import PatchNetwork

        self._read = read
        self._network = PatchNetwork()
        self._kept: dict[int, Tensor] = {}

    def patches(self, index: int) -> "Tensor":
        """Features [256, 152] of the patches of 16 x 16 pixels, on the device."""
        from components.artifacts import to_tensor

        if index not in self._kept:
            patches = self._network.coarse(to_tensor([self._read(index)]))[0]
            if len(self._kept) == _KEPT_IMAGES:
                return patches
            self._kept[index] = patches
        return self._kept[index]


def _trimmed_distances(pooled: "Tensor") -> "Tensor":
    """Mean distance [n] of each mean-pooled vector of [n, dim] to the others, but for the farthest tenth of them."""
    import torch

    kept = max(1, round((1 - _TRIMMED) * len(pooled)))
    parts = torch.split(pooled, _ROWS)
    return torch.cat([torch.cdist(some, pooled).topk(kept, largest=False).values.mean(dim=1) for some in parts])


def _evenly_spaced(remoteness: "Tensor") -> list[int]:
    """Indices of the images that all are compared with, in ascending order."""
    import numpy as np

    ranked = remoteness.argsort(stable=True).cpu().numpy()
    places = np.linspace(0, len(ranked) - 1, min(len(ranked), _REFERENCES)).round().astype(int)
    return sorted(int(index) for index in ranked[places])


def _mutual_score(distances: "Tensor", others: list[int]) -> float:
    """How far the oddest patches of an image lie from those of the other images; 0 where there is no other.

    A patch's score is its mean distance to the images that explain it best, so that what a good share of the pool
    shows is usual, and what one or two other images show is not.
    """
    if not others:
        return 0.0
    best = max(1, round(_MUTUAL_SHARE * len(others)))
    scores = distances[others].topk(best, dim=0, largest=False).values.mean(dim=0)
    oddest = max(1, round(_ODDEST_PATCHES * len(scores)))
    return float(scores.topk(oddest).values.mean())


def _usual(oddness: list[float], shots: int) -> list[int]:
    """Places of the images that may be chosen: all but the oddest fifth, or as many of them as are needed."""
    left_out = min(int(_NEVER_CHOSEN * len(oddness)), len(oddness) - shots)
    ranked = sorted(range(len(oddness)), key=lambda at: (oddness[at], at))
    return sorted(ranked[: len(ranked) - left_out])


def _greedy(
    table: "Tensor", remoteness: Sequence[float], usual: Sequence[int], ties: Sequence[int], shots: int
) -> list[int]:
    """Places of the chosen images, in the order of the choice.

    Args:
        table: distance [n, n, p] of each patch of an image (second) to the nearest patch of a candidate (first).
        remoteness: of every image [n], its distance to the others; the least remote one is the first.
        usual: places of the candidates.
        ties: order [n] in which images of equal cost are taken.
        shots: how many are chosen.
    """
    import torch

    def uncovered(at: int) -> float:
        """Mean distance of the images' patches to the nearest chosen one, if this image is chosen too."""
        distances = torch.minimum(table[at], nearest).mean(dim=1)
        return float(distances.topk(counted, largest=False).values.mean())

    counted = max(1, round((1 - _TRIMMED) * len(table)))
    chosen = [min(usual, key=lambda at: (remoteness[at], ties[at]))]
    nearest = table[chosen[0]]
    while len(chosen) < shots:
        left = [at for at in usual if at not in chosen]
        chosen.append(min(left, key=lambda at: (uncovered(at), ties[at])))
        nearest = torch.minimum(nearest, table[chosen[-1]])
    return chosen
