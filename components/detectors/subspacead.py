"""SubspaceAD (arXiv 2602.23013): what a linear subspace of good patches leaves of a patch of DINOv2's features.

The paper's augmentation, rotations of the given images, is the training set `rotations`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import DynamicBufferMixin
from torch import Tensor

from components.detectors.batches import Images, singly
from components.detectors.encoder import DinoEncoder
from components.detectors.enlarging import Enlarge
from components.detectors.padding import PatchDetector
from components.detectors.scoring import highest

if TYPE_CHECKING:
    from components.detectors.config import Config

_BLOCKS = (6, 7, 8)
"""Of a transformer of twelve: the middle layers, whose mean the paper takes (22 to 28 of 40)."""


def build(config: "Config", image_size: int, pretrained: bool) -> "SubspaceAd":
    """A subspace without directions on the mean of the transformer's middle blocks."""
    encoder = DinoEncoder(config.vit, config.vit_reference, image_size, _BLOCKS, norm=False, pretrained=pretrained)
    return SubspaceAd(encoder, config.image_score)


def train(model: "SubspaceAd", images: Images, config: "Config") -> None:
    """Fit the subspace, one image at a time."""
    model.fit((model.inside(model.embed(image))[0] for image in singly(images)), config.subspace_variance)


class SubspaceAd(DynamicBufferMixin, PatchDetector):  # type: ignore[misc]
    """Mean and principal directions of the patches of good images."""

    mean: Tensor
    directions: Tensor

    def __init__(self, encoder: DinoEncoder, image_score: str) -> None:
        super().__init__(image_score)
        self.encoder = encoder
        self.enlarge = Enlarge()
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("directions", torch.empty(0))

    def embed(self, images: Tensor) -> Tensor:
        """Patches [n, grid, grid, d] of images [n, 3, side, side] in [0, 1]."""
        tokens = torch.stack(self.encoder(images)).mean(dim=0)[:, self.encoder.prefix :]
        return tokens.reshape(len(tokens), self.encoder.grid, self.encoder.grid, -1)

    def fit(self, rows: Iterable[Tensor], share: float) -> None:
        """Keep the least principal directions [k, d] with a share of the variance of patches [n, d], read once."""
        count, total, products = 0, torch.zeros(()), torch.zeros(())
        for row in rows:
            part = row.double()
            count += len(part)
            total = total.to(part) + part.sum(dim=0)
            products = products.to(part) + part.T @ part
        mean = total / count
        variances, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))
        explained = variances.flip(0).clamp_min(0).cumsum(0)
        kept = int((explained < share * explained[-1]).sum()) + 1
        self.mean = mean.float()
        self.directions = vectors.flip(1)[:, :kept].T.float().contiguous()

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: the squared norm of what the subspace does not explain of a patch."""
        centred = self.embed(images) - self.mean
        residual = centred - centred @ self.directions.T @ self.directions
        found = residual.square().sum(dim=-1)
        maps = self.enlarge(self.shown(found).unsqueeze(1), tuple(images.shape[-2:]))
        return InferenceBatch(pred_score=highest(self.inside(found), self.image_score), anomaly_map=maps)
