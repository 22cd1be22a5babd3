"""PaDiM (Defard et al., 2021): a Gaussian of backbone features at every position of the image.

With one to five images a covariance of a hundred features cannot be estimated at each position alone, and with one
image there is none at all. It is shrunk to the covariance of all positions, taken over neighbouring cells as well, with
the weight of a conjugate prior that counts as many images as there are features; with many images it is the paper's.
"""

from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import DynamicBufferMixin
from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
from torch import Tensor, nn
from torch.nn import functional

from components.detectors.batches import Images, encoded
from components.detectors.encoder import Encoder, stacked
from components.detectors.scoring import highest

if TYPE_CHECKING:
    from components.detectors.config import Config

_LEVELS = (1, 2, 3)
_FEATURES = 100
_REGULARISATION = 0.01
_REACH = 1


def build(config: "Config", image_size: int, pretrained: bool) -> "Padim":
    """Gaussians without parameters, on the feature maps of stride 4, 8 and 16, as in the paper."""
    encoder = Encoder(config.backbone, _LEVELS, reference=config.backbone_reference, pretrained=pretrained)
    return Padim(encoder, config.image_score)


def train(model: "Padim", images: Images, config: "Config") -> None:
    """Fit the Gaussians."""
    model.mean, model.precision = fit_gaussians(*encoded(lambda batch: [model.embed(batch)], images))


class Padim(DynamicBufferMixin, nn.Module):  # type: ignore[misc]
    """Gaussians on a grid of stride 8, of 100 features drawn at random (section III-B of the paper)."""

    chosen: Tensor
    mean: Tensor
    precision: Tensor

    def __init__(self, encoder: Encoder, image_score: str) -> None:
        """Draw the features from torch's global generator."""
        super().__init__()
        self.encoder, self.image_score = encoder, image_score
        channels = sum(encoder.channels)
        self.register_buffer("chosen", torch.randperm(channels)[: min(_FEATURES, channels)])
        self.register_buffer("mean", torch.empty(0))
        self.register_buffer("precision", torch.empty(0))
        self.distances = AnomalyMapGenerator()

    def embed(self, images: Tensor) -> Tensor:
        """Features [n, d, height / 8, width / 8] of images [n, 3, height, width] in [0, 1]."""
        fine, *coarse = self.encoder(images)
        return stacked([functional.avg_pool2d(fine, 2), *coarse])[:, self.chosen]

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: the Mahalanobis distance (Eq. 2), smoothed."""
        embedding, size = self.embed(images), tuple(images.shape[-2:])
        found = self.distances(embedding=embedding, mean=self.mean, inv_covariance=self.precision, image_size=size)
        return InferenceBatch(pred_score=highest(found, self.image_score), anomaly_map=found)


def fit_gaussians(embeddings: Tensor) -> tuple[Tensor, Tensor]:
    """Mean [d, h w] and inverse covariance [h w, d, d] at each of h w positions, by n embeddings [n, d, h, w].

    The covariance is ((n - 1) S + d P) / (n - 1 + d) + 0.01 I: S is that of the position (Eq. 1; none for one image), P
    the mean square residual, over all positions, of a position's and its eight neighbours' features from its mean.
    """
    count, features, height, width = embeddings.shape
    mean = embeddings.mean(dim=0)
    own = (embeddings - mean).flatten(2)
    scatter = torch.einsum("ndp,nep->pde", own, own)
    padded = functional.pad(embeddings, [_REACH] * 4, mode="replicate")
    pooled = torch.zeros(features, features, device=mean.device)
    side = 2 * _REACH + 1
    for index in range(side**2):
        row, column = divmod(index, side)
        residual = padded[:, :, row : row + height, column : column + width] - mean
        flat = residual.transpose(0, 1).flatten(1)
        pooled += flat @ flat.T
    pooled /= side**2 * count * height * width
    covariance = (scatter + features * pooled) / (count - 1 + features)
    identity = torch.eye(features, device=embeddings.device)
    return mean.flatten(1), torch.linalg.inv(covariance + _REGULARISATION * identity)
