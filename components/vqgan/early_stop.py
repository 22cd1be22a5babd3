"""Early stop of the loop by the trend of its sets, measured in the image embedder's space."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from components.generator.model import to_image_range
from components.networks.embedding import load_embedder
from components.preprocessing.stored import Images
from components.vqgan.config import Config

_BATCH = 32


class SimilarityTrend:
    """Similarity of each iteration's set to the given images; it rises, peaks and falls (paper Fig. 9).

    The text's similarity is measured in selection, a later stage; this one needs images only.
    """

    def __init__(self, given: Sequence[Images], config: Config) -> None:
        """Embed the given images, 1 in each of some, by the config's embedder."""
        self._embedder = load_embedder(config.embedder, config.embedder_weights)
        self._patience = config.patience
        starts = range(0, len(given), _BATCH)
        batches = (torch.cat([image[:] for image in given[start : start + _BATCH]]) for start in starts)
        self._target = _mean(torch.cat([self.embed(to_image_range(batch)) for batch in batches]))

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors [n, dim] of images [n, 3, height, width] in [0, 1]."""
        return self._embedder.embed_images(images)

    def similarity(self, vectors: Tensor) -> float:
        """Cosine of the mean embeddings of a set, by its vectors [M, dim], and of the given images."""
        return float(_mean(vectors) @ self._target)

    def has_peaked(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether the last `patience` iterations brought no set more similar than an earlier one."""
        trend = [row["similarity"] for row in rows]
        return len(trend) > self._patience and max(trend[-self._patience :]) <= max(trend[: -self._patience])


def _mean(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors.mean(dim=0), dim=0)
