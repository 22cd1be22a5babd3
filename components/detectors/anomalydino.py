"""AnomalyDINO (Damm et al., 2025): the nearest patch of the given images, by the cosine of DINOv2's features.

Without the paper's masks of the background. Its rotations of the references are the training set `rotations`.
"""

from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import DynamicBufferMixin
from anomalib.models.image.anomaly_dino.torch_model import AnomalyDINOModel
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from torch import Tensor, nn
from torch.nn import functional

from components.detectors.batches import encoded
from components.detectors.encoder import DinoEncoder

if TYPE_CHECKING:
    from components.detectors.config import Config

_BLOCKS = (-1,)


def build(config: "Config", image_size: int, pretrained: bool) -> "AnomalyDino":
    """An empty memory bank on the transformer's last block, normalised, as in the paper."""
    encoder = DinoEncoder(config.vit, config.vit_reference, image_size, _BLOCKS, norm=True, pretrained=pretrained)
    return AnomalyDino(encoder)


def train(model: "AnomalyDino", images: Tensor, config: "Config") -> None:
    """Keep the patches of the images."""
    (embeddings,) = encoded(lambda batch: [model.embed(batch)], images)
    model.bank = embeddings.flatten(0, 1).contiguous()


class AnomalyDino(DynamicBufferMixin, nn.Module):  # type: ignore[misc]
    """All patches of the given images in a memory bank."""

    bank: Tensor

    def __init__(self, encoder: DinoEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("bank", torch.empty(0))
        self.enlarge = AnomalyMapGenerator()

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors [n, patches, dim] of images [n, 3, side, side] in [0, 1]."""
        (tokens,) = self.encoder(images)
        return functional.normalize(tokens[:, self.encoder.prefix :], dim=-1)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: cosine distance to the nearest kept patch (Eq. 1), and the mean of its highest 1 %."""
        nearest = torch.stack([(rows @ self.bank.T).amax(dim=1) for rows in self.embed(images)])
        distances = (1 - nearest).clamp_min(0)
        grid = self.encoder.grid
        maps = self.enlarge(distances.view(-1, 1, grid, grid), tuple(images.shape[-2:]))
        return InferenceBatch(pred_score=AnomalyDINOModel.mean_top1p(distances).flatten(), anomaly_map=maps)
