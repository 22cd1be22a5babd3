"""AnomalyDINO (Damm et al., 2025): the nearest patch of the given images, by the cosine of DINOv2's features.

Without the paper's masks of the background. Its rotations of the references are the training set `rotations`.
"""

from typing import TYPE_CHECKING

from anomalib.data import InferenceBatch
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from torch import Tensor
from torch.nn import functional

from components.detectors.batches import Images, singly
from components.detectors.encoder import DinoEncoder
from components.detectors.memory_bank import BankDetector
from components.detectors.scoring import highest

if TYPE_CHECKING:
    from components.detectors.config import Config

_BLOCKS = (-1,)


def build(config: "Config", image_size: int, pretrained: bool) -> "AnomalyDino":
    """An empty memory bank on the transformer's last block, normalised, as in the paper."""
    encoder = DinoEncoder(config.vit, config.vit_reference, image_size, _BLOCKS, norm=True, pretrained=pretrained)
    return AnomalyDino(encoder, config.image_score)


def train(model: "AnomalyDino", images: Images, config: "Config") -> None:
    """Keep the patches of the images, up to the limit that all training sets share."""
    rows = (model.inside(model.embed(image))[0] for image in singly(images))
    model.bank.fill(rows, share=1.0, limit=config.coreset_limit, seed=config.seed)


class AnomalyDino(BankDetector):
    """All patches of the given images in a memory bank."""

    def __init__(self, encoder: DinoEncoder, image_score: str) -> None:
        super().__init__(image_score)
        self.encoder = encoder
        self.enlarge = AnomalyMapGenerator()

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors [n, grid, grid, dim] of images [n, 3, side, side] in [0, 1]."""
        (tokens,) = self.encoder(images)
        grid = self.encoder.grid
        return functional.normalize(tokens[:, self.encoder.prefix :], dim=-1).view(len(images), grid, grid, -1)

    def rate(self, distances: Tensor) -> Tensor:
        """Cosine distances (Eq. 1), half the squared ones of unit vectors."""
        return distances.square() / 2

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: the cosine distance to the nearest kept patch."""
        features = self.embed(images)
        found = self.rate(self.bank.distances(features.flatten(0, 2))).view(features.shape[:3])
        maps = self.enlarge(self.shown(found).unsqueeze(1), tuple(images.shape[-2:]))
        return InferenceBatch(pred_score=highest(self.inside(found), self.image_score), anomaly_map=maps)
