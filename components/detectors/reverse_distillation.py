"""Reverse Distillation (Deng and Li, 2022): a student that reconstructs the teacher's features from a narrow code.

anomalib ships the paper's bottleneck and decoder for ResNets. Other backbones get ones of the same form in the widths
of their own features: multi-scale fusion, a one-class embedding at half the coarsest resolution, and a decoder that
mirrors the teacher.
"""

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components.backbone import get_decoder
from anomalib.models.image.reverse_distillation.anomaly_map import AnomalyMapGenerationMode, AnomalyMapGenerator
from anomalib.models.image.reverse_distillation.components import get_bottleneck_layer
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock

from components.detectors.batches import Images, encoded_batches, optimise
from components.detectors.encoder import Encoder
from components.detectors.scoring import highest
from components.networks.backbones import RESNETS

if TYPE_CHECKING:
    from components.detectors.config import Config

_LEVELS = (1, 2, 3)
_EXPANSION = 2


def build(config: "Config", image_size: int, pretrained: bool) -> "ReverseDistillation":
    """An untrained student of the feature maps of stride 4, 8 and 16, as in the paper."""
    encoder = Encoder(config.backbone, _LEVELS, reference=config.backbone_reference, pretrained=pretrained)
    return ReverseDistillation(encoder, config, image_size)


def train(model: "ReverseDistillation", images: Images, config: "Config") -> None:
    """Maximise the cosine of teacher and student at every position (Eq. 2; Adam, 0.005, betas 0.5 and 0.999).

    A batch is one image for every training set: with two where there are two, a set of one image would get half the
    images in a step and other statistics of batch normalisation than the others.
    """
    student = nn.ModuleList([model.bottleneck, model.decoder])
    optimiser = torch.optim.Adam(student.parameters(), lr=0.005, betas=(0.5, 0.999))
    for maps in encoded_batches(model.encoder, images, config.distillation_steps, config.seed, size=1):
        optimise(optimiser, model.loss(maps))


class Bottleneck(nn.Module):
    """Three feature maps to one code at half the resolution of the coarsest (section 3.3, MFF and OCE)."""

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        fine, middle, coarse = channels
        self.from_fine = nn.Sequential(_halving(fine, middle), _halving(middle, coarse))
        self.from_middle = _halving(middle, coarse)
        fused, code = 3 * coarse, _EXPANSION * coarse
        shortcut = nn.Sequential(nn.Conv2d(fused, code, 1, stride=2, bias=False), nn.BatchNorm2d(code))
        self.embed = nn.Sequential(BasicBlock(fused, code, 2, shortcut), BasicBlock(code, code))

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Code [n, 2 coarse, h / 2, w / 2] of maps whose coarsest is [n, coarse, h, w]."""
        fine, middle, coarse = maps
        fused = torch.cat([self.from_fine(fine), self.from_middle(middle), coarse], dim=1)
        code: Tensor = self.embed(fused)
        return code


class Decoder(nn.Module):
    """A code back to the three feature maps, coarse to fine, each stage at twice the resolution of the one before.

    A linear layer ends each output, since EfficientNet's features, unlike ResNet's, are not rectified.
    """

    def __init__(self, channels: list[int]) -> None:
        super().__init__()
        widths = [_EXPANSION * channels[-1], *reversed(channels)]
        self.stages = nn.ModuleList(_doubling(*pair) for pair in pairwise(widths))
        self.heads = nn.ModuleList(nn.Conv2d(width, width, 1) for width in widths[1:])

    def forward(self, code: Tensor) -> list[Tensor]:
        """The maps, fine to coarse."""
        maps: list[Tensor] = []
        for stage, head in zip(self.stages, self.heads, strict=True):
            code = stage(code)
            maps.insert(0, head(code))
        return maps


class ReverseDistillation(nn.Module):
    """Teacher, bottleneck and decoder."""

    def __init__(self, encoder: Encoder, config: "Config", image_size: int) -> None:
        """Build the student of a teacher; the backbones of `RESNETS` get the paper's."""
        super().__init__()
        self.encoder, self.image_score = encoder, config.image_score
        backbone, paper = config.backbone, config.backbone in RESNETS
        self.bottleneck = get_bottleneck_layer(RESNETS[backbone]) if paper else Bottleneck(encoder.channels)
        self.decoder = get_decoder(RESNETS[backbone]) if paper else Decoder(encoder.channels)
        size = (image_size, image_size)
        self.distances = AnomalyMapGenerator(image_size=size, mode=AnomalyMapGenerationMode.ADD)

    def reconstruct(self, maps: list[Tensor]) -> list[Tensor]:
        """The student's version of the teacher's maps."""
        found: list[Tensor] = self.decoder(self.bottleneck(maps))
        return found

    def loss(self, maps: list[Tensor]) -> Tensor:
        """One minus the cosine of teacher and student, averaged over positions and added over the scales (Eq. 2).

        The authors' code takes the cosine of whole maps in its place; this is what the score measures.
        """
        pairs = zip(maps, self.reconstruct(maps), strict=True)
        return torch.stack([1 - functional.cosine_similarity(*pair).mean() for pair in pairs]).sum()

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: one minus the cosine of teacher and student, added over the scales (Eq. 3)."""
        maps = self.encoder(images)
        found = self.distances(self.reconstruct(maps), maps)
        return InferenceBatch(pred_score=highest(found, self.image_score), anomaly_map=found)


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _doubling(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU(), BasicBlock(outputs, outputs))
