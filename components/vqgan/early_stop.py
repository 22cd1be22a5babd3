"""Early stop of the loop by the trend of its sets, measured in the image embedder's space."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from components.generator.model import to_image_range
from components.networks.embedding import load_embedder
from components.vqgan.config import Config


class SimilarityTrend:
    """Similarity of each iteration's set to the given images; it rises, peaks and falls (paper Fig. 9).

    The text's similarity is measured in selection, a later stage; this one needs images only.
    """

    def __init__(self, given: Sequence[Tensor], config: Config) -> None:
        """Embed the given images [1, 3, height, width] in [-1, 1] by the config's embedder."""
        self._embedder = load_embedder(config.embedder, config.embedder_weights)
        self._patience = config.patience
        self._target = self._mean(to_image_range(torch.cat(list(given))))

    def similarity(self, images: Tensor) -> float:
        """Cosine of the mean embeddings of a set [M, 3, height, width] in [0, 1] and of the given images."""
        return float(self._mean(images) @ self._target)

    def has_peaked(self, rows: Sequence[Mapping[str, float]]) -> bool:
        """Whether the last `patience` iterations brought no set more similar than an earlier one."""
        trend = [row["similarity"] for row in rows]
        return len(trend) > self._patience and max(trend[-self._patience :]) <= max(trend[: -self._patience])

    def _mean(self, images: Tensor) -> Tensor:
        return functional.normalize(self._embedder.embed_images(images).mean(dim=0), dim=0)
