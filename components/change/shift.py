"""Whether two small sets of images look alike: backbone features, plain image statistics, and exact two-sample tests.

Every test permutes which image is in which set. Its p-value is right for any number of images and any distribution,
as long as the images of both sets are exchangeable when nothing has changed (Phipson and Smyth, 2010); with few images
it cannot become small, as `least_p_value` shows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from components.compute import device
from components.networks.backbones import IMAGE_MEAN, IMAGE_STD, load_features

if TYPE_CHECKING:
    from torch import Tensor

Floats = npt.NDArray[np.float64]

STATISTICS = ("brightness", "contrast", "sharpness")
"""Mean grey value in [0, 1], its standard deviation over the pixels, and the mean absolute Laplacian."""
_LEVELS = (2, 3, 4)
_BATCH = 16
_ROUNDING = 1e-12
_GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Looks:
    """What a set of n images looks like."""

    embeddings: Floats
    """[n, d] backbone features, averaged over the image."""
    statistics: Mapping[str, Floats]
    """[n] by the names of `STATISTICS`."""

    def __len__(self) -> int:
        return len(self.embeddings)


@dataclass(frozen=True, kw_only=True)
class EmbeddingShift:
    """How far a set lies from a reference in feature space."""

    distance: float
    """Distance of the means in standard deviations of the reference, less what as few images give by chance."""
    p_value: float
    """Of the maximum mean discrepancy, by permutation."""


@dataclass(frozen=True, kw_only=True)
class MeanShift:
    """Means of a number over a reference and a set, and the p-value of their difference, by permutation."""

    reference: float
    new: float
    p_value: float


def looks_of(images: "Tensor", backbone: str) -> Looks:
    """Features and statistics of images [n, 3, h, w] in [0, 1]; features are means of maps of stride 8 to 32."""
    import torch

    module = load_features(backbone, _LEVELS).to(device())
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE_MEAN, IMAGE_STD))
    found = []
    with torch.inference_mode():
        for batch in torch.split(images, _BATCH):
            maps = module(((batch - mean) / std).to(device()))
            found.append(torch.cat([level.mean((2, 3)) for level in maps], dim=1).cpu())
    return Looks(embeddings=torch.cat(found).double().numpy(), statistics=image_statistics(images))


def image_statistics(images: "Tensor") -> dict[str, Floats]:
    """The `STATISTICS` of images [n, 3, height, width] in [0, 1], each [n]."""
    import torch
    from torch.nn.functional import conv2d

    weights = torch.tensor(_GREY, dtype=torch.float64)[:, None, None]
    kernel = torch.tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]], dtype=torch.float64)[None, None]
    rows = []
    for batch in torch.split(images, _BATCH):
        grey = (batch.double() * weights).sum(1, keepdim=True)
        edges = conv2d(grey, kernel).abs()
        means = grey.mean((1, 2, 3)), grey.std((1, 2, 3), correction=0), edges.mean((1, 2, 3))
        rows.append(torch.stack(means, dim=1))
    return dict(zip(STATISTICS, torch.cat(rows).T.contiguous().numpy(), strict=True))  # safetensors writes no strides


def embedding_shift(reference: Floats, new: Floats, permutations: int, seed: int) -> EmbeddingShift:
    """Maximum mean discrepancy (Gretton et al., 2012, Eq. 5) with a Gaussian kernel, and the distance of the means.

    The kernel's width is the median distance of the pooled images, so that it does not depend on which image is in
    which set. The sets are [n, d] and [m, d], with n >= 2 and m >= 1.
    """
    pooled = np.concatenate([reference, new])
    pooled = (pooled - pooled.mean(0)) / np.maximum(pooled.std(0), 1e-12)
    lengths = (pooled**2).sum(1)
    squares = np.maximum(lengths[:, None] + lengths[None, :] - 2 * pooled @ pooled.T, 0.0)
    kernel = np.exp(-squares / max(float(np.median(squares[np.triu_indices(len(pooled), 1)])), 1e-12))
    weights = _weights(len(reference), len(new), permutations, seed)
    discrepancies = np.einsum("bi,ij,bj->b", weights, kernel, weights, optimize=True)
    return EmbeddingShift(distance=mean_distance(reference, new), p_value=_p_value(discrepancies, scale=1.0))


def mean_distance(reference: Floats, new: Floats) -> float:
    """Distance of the means in standard deviations of the reference, with the expectation of chance taken off.

    |mean(new) - mean(reference)|^2 / tr(cov(reference)) is 1/n + 1/m on average where both come from one distribution.
    """
    variance = float(reference.var(0, ddof=1).sum())
    squared = float(((new.mean(0) - reference.mean(0)) ** 2).sum()) / max(variance, 1e-12)
    return math.sqrt(max(0.0, squared - 1 / len(reference) - 1 / len(new)))


def mean_shift(reference: Floats, new: Floats, permutations: int, seed: int, *, greater: bool = False) -> MeanShift:
    """Difference of the means of [n] and [m] values; `greater` asks only whether the new ones are larger."""
    pooled = np.concatenate([reference, new])
    differences = -_weights(len(reference), len(new), permutations, seed) @ pooled
    p_value = _p_value(differences if greater else np.abs(differences), scale=float(np.abs(pooled).max()))
    return MeanShift(reference=float(reference.mean()), new=float(new.mean()), p_value=p_value)


def least_p_value(reference: int, new: int, permutations: int) -> float:
    """Smallest p-value that sets of as many images can reach."""
    return max(1 / (permutations + 1), 1 / math.comb(reference + new, new))


def superiority(reference: Sequence[float] | Floats, new: Sequence[float] | Floats) -> float:
    """Probability that a new value is larger than one of the reference, ties counted half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([reference, new]))[len(reference) :]
    return float((ranks.mean() - (len(new) + 1) / 2) / len(reference))


def _weights(reference: int, new: int, permutations: int, seed: int) -> Floats:
    """[permutations + 1, n + m]: 1/n for the reference and -1/m for the new, the observed order first."""
    observed = np.concatenate([np.full(reference, 1 / reference), np.full(new, -1 / new)])
    generator = np.random.default_rng(seed)
    shuffled = generator.permuted(np.tile(observed, (permutations, 1)), axis=1)
    return np.concatenate([observed[None], shuffled])


def _p_value(values: Floats, scale: float) -> float:
    """Share of the permutations, the observed one first, that are as extreme, up to rounding at the given scale."""
    return float((values >= values[0] - _ROUNDING * scale).mean())
