"""Scores of image quality by torchmetrics, on tensors."""

import warnings
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from components.preprocessing.stored import Images, in_batches

_BATCH = 8
_KID_SUBSET = 1000

PairScore = Callable[[Tensor, Tensor], Tensor]
"""Scores [n] of images and targets [n, 3, height, width] in [0, 1]."""


class FeatureNetwork(Protocol):
    """What IS, FID and KID look at images with."""

    name: str
    """The network and its weights, for reports."""

    def features(self, images: Tensor) -> Tensor:
        """Features [n, d] of images [n, 3, height, width] in [0, 1]."""

    def logits(self, features: Tensor) -> Tensor:
        """Logits [n, classes] of features [n, d]."""


def ssim(images: Tensor, targets: Tensor) -> Tensor:
    """SSIM [n] (Wang et al., 2004; 11 x 11 Gaussian window of sigma 1.5) of images in [0, 1]."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    # In single precision, rounding of the windows' variances shows in flat regions.
    scores: Any = structural_similarity_index_measure(
        images.double(), targets.double(), data_range=1.0, reduction="none"
    )
    return torch.as_tensor(scores)


def mean_over_pairs(score: PairScore, images: Images, given: Images, partners: Sequence[Sequence[int]]) -> float:
    """Mean over images [n, ...] of the mean score against each image's partners, which are positions in `given`.

    A few pairs at a time are read.
    """
    pairs = ((index, partner, 1 / len(own)) for index, own in enumerate(partners) for partner in own)
    total = 0.0
    for batch in iter(lambda: [*islice(pairs, _BATCH)], []):
        left, right, shares = (torch.tensor(column) for column in zip(*batch, strict=True))
        total += float((score(images[left], given[right]).cpu().double() * shares.double()).sum())
    return total / len(partners)


def inception_score(network: FeatureNetwork, features: Tensor) -> float:
    """IS (Salimans et al., 2016) of a set's features [n, d], from 1 to the number of images.

    One split: ten, which are customary for thousands of images, would hold an image or two.
    """
    from torchmetrics.image.inception import InceptionScore

    metric = _quiet(InceptionScore, feature=nn.Identity(), splits=1)
    metric.update(network.logits(features))
    return float(_quiet(metric.compute)[0])


def fid(features: Tensor, given: Tensor) -> float:
    """FID (Heusel et al., 2017) of a set's features [n, d] and the given images' [m, d], two at least of each.

    Far fewer images than features make it large: such values compare sets of one size, and nothing else.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    return float(_between(FrechetInceptionDistance, features, given))


def kid(features: Tensor, given: Tensor) -> float:
    """KID (Binkowski et al., 2018) of a set's features [n, d] and the given images' [m, d], two at least of each.

    The mean over 100 drawn subsets, as large as the smaller set; unbiased, and so below zero by chance for like sets.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    size = min(len(features), len(given), _KID_SUBSET)
    return float(_between(KernelInceptionDistance, features, given, subset_size=size)[0])


def pixel_std(images: Images) -> float:
    """Mean over pixels and channels of the sample standard deviation over two or more images [n, 3, height, width].

    A few images at a time are read, and joined by the parallel algorithm of Chan, Golub and LeVeque (1983).
    """
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for batch in in_batches(images, _BATCH):
        own, values = len(batch), batch.double()
        step = values.mean(dim=0) - mean
        squares = squares + values.var(dim=0, correction=0) * own + step.square() * (count * own / (count + own))
        count += own
        mean = mean + step * (own / count)
    return float((squares / (count - 1)).sqrt().mean())


def _between(kind: Callable[..., Any], features: Tensor, given: Tensor, **settings: Any) -> Any:
    """What a metric of torchmetrics computes of what is already features."""
    network: Any = nn.Identity()
    network.num_features = features.shape[1]
    metric = _quiet(kind, feature=network, **settings)
    metric.update(given, real=True)
    metric.update(features, real=False)
    return metric.compute()


def _quiet(call: Callable[..., Any], **arguments: Any) -> Any:
    """What a call gives, without torchmetrics' warnings about memory, and about a deviation over one split."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return call(**arguments)
