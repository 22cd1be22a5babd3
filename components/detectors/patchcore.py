"""PatchCore (Roth et al., 2022): the distance of backbone features to the nearest patch of the training images.

Scores are those of anomalib's PatchCore with the same bank, in half the time. The bank is another: all patches up to
one limit for all training sets, and above it a coreset without a random projection. A share of the patches, as in the
paper, leaves one given image a hundredth of the patches that a hundred images have, and what an added image gains is
then what a larger bank gains.
"""

from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from components.detectors.batches import Images, singly
from components.detectors.encoder import Encoder, stacked
from components.detectors.enlarging import Enlarge
from components.detectors.memory_bank import BankDetector
from components.detectors.scoring import MAXIMUM, highest

if TYPE_CHECKING:
    from components.detectors.config import Config

_LEVELS = (2, 3)


def build(config: "Config", image_size: int, pretrained: bool) -> "PatchCore":
    """An empty memory bank on the feature maps of stride 8 and 16, as in the paper."""
    encoder = Encoder(config.backbone, _LEVELS, reference=config.backbone_reference, pretrained=pretrained)
    return PatchCore(encoder, config.num_neighbors, config.image_score)


def train(model: "PatchCore", images: Images, config: "Config") -> None:
    """Fill the memory bank, one image at a time."""
    rows = (model.inside(model.embed(image))[0] for image in singly(images))
    model.bank.fill(rows, share=config.coreset_ratio, limit=config.coreset_limit, seed=config.seed)


class PatchCore(BankDetector):
    """Locally averaged backbone features in a memory bank."""

    def __init__(self, encoder: Encoder, neighbors: int, image_score: str) -> None:
        super().__init__(image_score)
        self.encoder, self.neighbors = encoder, neighbors
        self.average = nn.AvgPool2d(3, 1, 1)
        self.enlarge = Enlarge()

    def embed(self, images: Tensor) -> Tensor:
        """Features [n, height / 8, width / 8, d] of images [n, 3, height, width] in [0, 1]."""
        return stacked([self.average(map) for map in self.encoder(images)]).permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: the distance to the nearest kept patch; the reweighted maximum, or the mean of the top 1 %.

        The weight of the maximum is the paper's Eq. 7.
        """
        features = self.embed(images)
        count, height, width, channels = features.shape
        rows = features.reshape(-1, channels)
        distances = self.shown(self.bank.distances(rows).view(count, height, width))
        scores = highest(self.inside(distances), self.image_score)
        if self.image_score == MAXIMUM and self.neighbors > 1:
            farthest = rows.view(count, -1, channels)[torch.arange(count), distances.flatten(1).argmax(dim=1)]
            scores = scores * self.bank.weights(farthest, self.neighbors)
        maps = self.enlarge(distances.unsqueeze(1), tuple(images.shape[-2:]))
        return InferenceBatch(pred_score=scores, anomaly_map=maps)
