"""The patches that a memory bank keeps of many: greedy k-center selection (Sener and Savarese, 2018)."""

import torch
from torch import Tensor

from components.errors import check

_CANDIDATES = 256
_BLOCK_ROWS = 2048


def k_center_greedy(patches: Tensor, count: int, seed: int) -> Tensor:
    """Indices [count], all different, of patches [n, d] that all patches are near to.

    The first is drawn by the seed, each further one is the patch farthest from those before it: the radius is at most
    twice the smallest possible (Gonzalez, 1985). Distances are exact, without the random projection that PatchCore's
    authors put before the selection.

    The patches that are farthest at any time are the only ones that can be chosen as long as one of them stays farther
    than all others. So several are chosen by the distances among these few, before one matrix product brings the
    distances of all patches up to date; the choice is the same as one by one. Beside the patches, memory holds a few
    numbers a patch.
    """
    total = len(patches)
    check(0 < count <= total, "coreset", count, f"1 to {total} patches")
    squares = patches.new_empty(total)
    for rows, own in zip(torch.split(patches, _BLOCK_ROWS), torch.split(squares, _BLOCK_ROWS), strict=True):
        torch.sum(rows.square(), dim=1, out=own)
    nearest = torch.full_like(squares, torch.inf)
    chosen = torch.randint(total, (1,), generator=torch.Generator().manual_seed(seed)).to(patches.device)
    parts = [chosen]
    while (missing := count - sum(map(len, parts))) > 0:
        _approach(nearest, patches, squares, chosen)
        chosen = _farthest(nearest, patches, missing)
        parts.append(chosen)
    return torch.cat(parts)


def squared_distances(rows: Tensor, others: Tensor) -> Tensor:
    """Squared Euclidean distances [n, m] of rows [n, d] to others [m, d], by their matrix product."""
    squares = rows.square().sum(dim=1, keepdim=True), others.square().sum(dim=1)
    return torch.addmm(squares[1], rows, others.T, alpha=-2).add_(squares[0]).clamp_min_(0)


def _approach(nearest: Tensor, patches: Tensor, squares: Tensor, chosen: Tensor) -> None:
    """Lower the squared distances [n] of patches to what is chosen by some more; of these they become negative."""
    centers = patches.index_select(0, chosen)
    rows = (torch.split(part, _BLOCK_ROWS) for part in (patches, squares, nearest))
    for some, own, found in zip(*rows, strict=True):
        products = torch.addmm(squares.index_select(0, chosen), some, centers.T, alpha=-2)
        torch.minimum(found, products.amin(dim=1).add_(own).clamp_min_(0), out=found)
    nearest.index_fill_(0, chosen, -1)


def _farthest(nearest: Tensor, patches: Tensor, most: int) -> Tensor:
    """Indices of the next patches in the greedy order, 1 to `most` of them, by squared distances [n]."""
    values, candidates = nearest.topk(min(_CANDIDATES + 1, len(nearest)))
    values, bound = values[:_CANDIDATES].cpu(), float(values[-1])
    candidates = candidates[:_CANDIDATES]
    few = patches.index_select(0, candidates)
    between = squared_distances(few, few).cpu()
    places = [0]
    while len(places) < most:
        values = torch.minimum(values, between[places[-1]])
        values[places[-1]] = -1
        highest, place = values.max(dim=0)
        if float(highest) < max(bound, 0):
            break
        places.append(int(place))
    return candidates[torch.tensor(places, device=candidates.device)]
