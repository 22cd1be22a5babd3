"""CFlow-AD (Gudovskiy et al., 2022): a normalising flow of backbone features, conditioned on their position.

Likelihoods become probabilities by their maximum, which is taken over the training images here: that of a batch, as
in anomalib, would make an image's score depend on the others. Far from the training images probabilities vanish, which
keeps the flow that extrapolates worst from deciding alone: trained on one image, log-likelihoods fall below -100,000.
"""

from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.image.cflow.utils import cflow_head, get_logp, positional_encoding_2d
from torch import Tensor, nn
from torch.nn import functional

from components.detectors.batches import Images, encoded_batches, optimise, singly
from components.detectors.encoder import Encoder
from components.detectors.scoring import highest

if TYPE_CHECKING:
    from components.detectors.config import Config

_LEVELS = (2, 3, 4)
_FIBERS = 256
_CONDITION = 128
_COUPLING_BLOCKS = 8
_CLAMP = 1.9


def build(config: "Config", image_size: int, pretrained: bool) -> "Cflow":
    """Untrained flows on the feature maps of stride 8, 16 and 32, as in the paper."""
    encoder = Encoder(config.backbone, _LEVELS, reference=config.backbone_reference, pretrained=pretrained)
    return Cflow(encoder, config.image_score)


def train(model: "Cflow", images: Images, config: "Config") -> None:
    """Maximise the likelihood of features (Adam, 2e-4, and the log-sigmoid of the paper's code).

    A step takes 256 features of each scale at random out of a batch of images.
    """
    optimiser = torch.optim.Adam(model.flows.parameters(), lr=2e-4)
    for maps in encoded_batches(model.encoder, images, config.cflow_steps, config.seed):
        losses = []
        for level, map in enumerate(maps):
            features, positions = fibers(map), encoded_positions(map)
            chosen = torch.randperm(len(features))[:_FIBERS].to(features.device)
            logp = model.log_likelihoods(level, features[chosen], positions[chosen])
            losses.append(-functional.logsigmoid(logp).mean())
        optimise(optimiser, torch.stack(losses).sum())
    model.calibrate(images)


class Cflow(nn.Module):
    """A conditional flow of eight coupling blocks for each feature map."""

    highest: Tensor

    def __init__(self, encoder: Encoder, image_score: str) -> None:
        """Build the flows; their permutations are drawn from torch's global generator."""
        super().__init__()
        self.encoder, self.image_score = encoder, image_score
        self.flows = nn.ModuleList(
            cflow_head(_CONDITION, _COUPLING_BLOCKS, _CLAMP, n_features=channels) for channels in encoder.channels
        )
        self.register_buffer("highest", torch.zeros(len(encoder.channels)))

    def log_likelihoods(self, level: int, features: Tensor, positions: Tensor) -> Tensor:
        """Log-likelihood per dimension [m] of features [m, channels] at positions [m, 128] (Eq. 5 of the paper)."""
        latent, log_determinant = self.flows[level](features, [positions])
        channels = features.shape[1]
        logp: Tensor = get_logp(channels, latent, log_determinant) / channels
        return logp

    def calibrate(self, images: Images) -> None:
        """Set the highest log-likelihood of each scale by the training images."""
        with torch.no_grad():
            found = [[logp.max() for logp in self._scales(image)] for image in singly(images)]
        self.highest = torch.tensor(found, device=self.highest.device).amax(dim=0)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: the number of scales less their enlarged, added probabilities (section 4.3)."""
        size = images.shape[-2:]
        found = images.new_full((len(images), 1, *size), float(len(self.flows)))
        for logp, most in zip(self._scales(images), self.highest, strict=True):
            probability = torch.exp((logp - most).clamp_max(0))
            found = found - functional.interpolate(probability, size=size, mode="bilinear")
        return InferenceBatch(pred_score=highest(found, self.image_score), anomaly_map=found)

    def _scales(self, images: Tensor) -> list[Tensor]:
        """Log-likelihoods [n, 1, h, w] of the features at each scale."""
        maps = self.encoder(images)
        rows = [self.log_likelihoods(index, fibers(map), encoded_positions(map)) for index, map in enumerate(maps)]
        return [logp.reshape(len(map), 1, *map.shape[-2:]) for logp, map in zip(rows, maps, strict=True)]


def fibers(map: Tensor) -> Tensor:
    """Features [n h w, channels] of a map [n, channels, h, w]."""
    return map.permute(0, 2, 3, 1).flatten(0, 2)


def encoded_positions(map: Tensor) -> Tensor:
    """Sine and cosine codes [n h w, 128] of the positions of a map [n, channels, h, w], in the order of `fibers`."""
    codes = positional_encoding_2d(_CONDITION, *map.shape[-2:]).to(map)
    return fibers(codes.expand(len(map), -1, -1, -1))
