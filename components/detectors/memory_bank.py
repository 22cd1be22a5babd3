"""A memory bank of patch features and the exact search in it, for the detectors that compare with the nearest patch."""

import math
from collections.abc import Iterable

import torch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor, nn

from components.detectors.coreset import k_center_greedy, squared_distances
from components.detectors.padding import PatchDetector
from components.detectors.scoring import highest
from components.networks.patches import distances_to

_QUERY_ROWS = 512
_WINDOW = 8
_MOST_WAITING_BYTES = 2**28


class MemoryBank(DynamicBufferMixin, nn.Module):  # type: ignore[misc]
    """Patches [m, d] of good images, kept with the trained detector."""

    patches: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("patches", torch.empty(0))
        self.seen = 0
        """Patches that the bank was filled from."""

    def fill(self, rows: Iterable[Tensor], *, share: float, limit: int, seed: int) -> None:
        """Keep patches of an image each, [n, d]: all of them, or a coreset of a share and at most a limit.

        Waiting patches take at most 256 MiB, or four times the limit where that is more: then a coreset of the limit is
        set aside for them, and the bank is chosen among all that were set aside. A coreset of coresets has a radius of
        at most four times the smallest possible (Malkomes et al., 2015), where one of all patches has twice. When those
        set aside take as much as may wait, they are reduced likewise, which adds two, so that memory has a bound for
        any number of images.
        """
        waiting: list[Tensor] = []
        aside: list[Tensor] = []
        self.seen = 0
        for part in rows:
            waiting.append(part)
            self.seen += len(part)
            most = max(4 * limit, _MOST_WAITING_BYTES // (part.shape[1] * part.element_size()))
            if sum(map(len, waiting)) > most:
                aside.append(coreset(torch.cat(waiting), limit, seed))
                waiting.clear()
            if sum(map(len, aside)) > most:
                aside = [coreset(torch.cat(aside), limit, seed)]
        kept = min(limit, max(1, math.ceil(share * self.seen)))
        self.patches = coreset(torch.cat([*aside, *waiting]), kept, seed)

    def distances(self, rows: Tensor) -> Tensor:
        """Distances [n] of patches [n, d] to their nearest kept ones."""
        return distances_to(self.patches, rows)

    def weights(self, rows: Tensor, neighbors: int) -> Tensor:
        """Weights [n] of the image scores of patches [n, d], by b neighbours in the bank (Eq. 7 of PatchCore).

        A patch whose nearest kept one is itself far from the other kept ones is the more anomalous.
        """
        nearest = self.patches[squared_distances(rows, self.patches).argmin(dim=1)]
        count = min(neighbors, len(self.patches))
        support = squared_distances(nearest, self.patches).topk(count, dim=1, largest=False).indices
        differences = rows.unsqueeze(1) - self.patches[support]
        return 1 - torch.softmax(differences.square().sum(dim=2).sqrt(), dim=1)[:, 0]


class BankDetector(PatchDetector):
    """A detector that compares the patches of an image with those of a memory bank."""

    def __init__(self, image_score: str) -> None:
        super().__init__(image_score)
        self.bank = MemoryBank()

    def rate(self, distances: Tensor) -> Tensor:
        """Anomaly of patches by their distances to the nearest kept ones; the distances themselves."""
        return distances

    def counted(self, images: Tensor) -> Iterable[tuple[Tensor, Tensor | None]]:
        """Patches [h, w, d] of each of images [n, 3, height, width], and which [h, w] of them count; None for all."""
        return ((features, self.content) for features in self.embed(images))

    def own_scores(self, images: Tensor) -> Tensor:
        """Scores [n] of images whose patches are compared with those elsewhere in the same image."""
        found = [self.rate(own_distances(*image)).unsqueeze(0) for image in self.counted(images)]
        return torch.cat([highest(distances, self.image_score) for distances in found])


def own_distances(features: Tensor, content: Tensor | None = None) -> Tensor:
    """Distances [m] of patches [h, w, d] of an image to its nearest patch outside of a window around each.

    The m patches are all, or those of the content [h, w].
    The window reaches an eighth of the longer side to all four sides: features of nearer patches overlap.
    """
    height, width, channels = features.shape
    rows = features.reshape(-1, channels)
    reach = max(height, width) / _WINDOW
    steps = torch.arange(height * width, device=features.device)
    places = torch.stack([steps // width, steps % width], dim=1)
    if content is not None:
        rows, places = rows[content.flatten()], places[content.flatten()]
    found = []
    for block, own in zip(torch.split(rows, _QUERY_ROWS), torch.split(places, _QUERY_ROWS), strict=True):
        near = (own.unsqueeze(1) - places).abs().amax(dim=2) <= reach
        found.append(squared_distances(block, rows).masked_fill(near, torch.inf).amin(dim=1))
    return torch.cat(found).sqrt()


def coreset(patches: Tensor, count: int, seed: int) -> Tensor:
    """Patches [count, d] of [n, d] by the greedy choice; all of them, in their order, where there are no more."""
    return patches if len(patches) <= count else patches[k_center_greedy(patches, count, seed)]
