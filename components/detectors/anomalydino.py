"""AnomalyDINO (Damm et al., 2025): the nearest patch of the given images, by the cosine of DINOv2's features.

The paper's rotations of the references are the training set `rotations`, its masks `foreground_masks`.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from anomalib.data import InferenceBatch
from torch import Tensor
from torch.nn import functional

from components.detectors.batches import Images, singly
from components.detectors.encoder import DinoEncoder
from components.detectors.enlarging import Enlarge
from components.detectors.memory_bank import BankDetector
from components.detectors.scoring import highest

if TYPE_CHECKING:
    from components.detectors.config import Config

_BLOCKS = (-1,)
_THRESHOLD = 10.0
"""First principal component above which a patch is of the object (section 3.2)."""
_BORDER = 0.2
"""Share of the image, at each side, that is not its centre."""
_SQUARINGS = 10


def build(config: "Config", image_size: int, pretrained: bool) -> "AnomalyDino":
    """An empty memory bank on the transformer's last block, normalised, as in the paper."""
    encoder = DinoEncoder(config.vit, config.vit_reference, image_size, _BLOCKS, norm=True, pretrained=pretrained)
    return AnomalyDino(encoder, config.image_score, config.foreground_masks)


def train(model: "AnomalyDino", images: Images, config: "Config") -> None:
    """Keep the patches of the images, up to the limit that all training sets share."""
    rows = (model.rows(image) for image in singly(images))
    model.bank.fill(rows, share=1.0, limit=config.coreset_limit, seed=config.seed)


class AnomalyDino(BankDetector):
    """All patches of the given images, or of the object in them, in a memory bank."""

    def __init__(self, encoder: DinoEncoder, image_score: str, foreground_masks: bool) -> None:
        super().__init__(image_score)
        self.encoder, self.foreground_masks = encoder, foreground_masks
        self.enlarge = Enlarge()

    def tokens(self, images: Tensor) -> Tensor:
        """Patches [n, grid, grid, dim] of the last block of images [n, 3, side, side] in [0, 1]."""
        patches: Tensor = self.encoder(images)[0][:, self.encoder.prefix :]
        return patches.reshape(len(images), self.encoder.grid, self.encoder.grid, -1)

    def embed(self, images: Tensor) -> Tensor:
        """Unit vectors [n, grid, grid, dim] of images [n, 3, side, side] in [0, 1]."""
        return functional.normalize(self.tokens(images), dim=-1)

    def rows(self, image: Tensor) -> Tensor:
        """Unit vectors [m, dim] of the patches that count of an image [1, 3, side, side] in [0, 1]."""
        tokens = self.tokens(image)
        kept = self.inside(tokens) if not self.foreground_masks else tokens[self._masks(tokens)].unsqueeze(0)
        return functional.normalize(kept[0], dim=-1)

    def counted(self, images: Tensor) -> Iterable[tuple[Tensor, Tensor | None]]:
        """See `BankDetector`; with masks, the patches of the object count."""
        if not self.foreground_masks:
            return super().counted(images)
        tokens = self.tokens(images)
        return zip(functional.normalize(tokens, dim=-1), self._masks(tokens), strict=True)

    def _masks(self, tokens: Tensor) -> Tensor:
        masks = foreground(tokens)
        return masks if self.content is None else masks & self.content

    def rate(self, distances: Tensor) -> Tensor:
        """Cosine distances (Eq. 1), half the squared ones of unit vectors."""
        return distances.square() / 2

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps: the cosine distance to the nearest kept patch, 0 of patches that do not count."""
        tokens = self.tokens(images)
        features = functional.normalize(tokens, dim=-1)
        found = self.shown(self.rate(self.bank.distances(features.flatten(0, 2))).view(features.shape[:3]))
        if self.foreground_masks:
            found = found * self._masks(tokens)
        maps = self.enlarge(found.unsqueeze(1), tuple(images.shape[-2:]))
        return InferenceBatch(pred_score=highest(self.inside(found), self.image_score), anomaly_map=maps)


def foreground(tokens: Tensor) -> Tensor:
    """Which patches [n, h, w] of images show the object, by the patches' features [n, h, w, dim].

    Those whose first principal component is over the threshold, with the sign that keeps more of the image's centre,
    grown by one patch and with its holes closed. In an image without any, as of an empty tray, all do.
    """
    rows = tokens.flatten(1, 2)
    centred = rows - rows.mean(dim=1, keepdim=True)
    component = (centred @ principal_direction(centred)).view(tokens.shape[:3])
    height, width = tokens.shape[1:3]
    top, left = int(height * _BORDER), int(width * _BORDER)
    both = torch.stack([component > _THRESHOLD, component < -_THRESHOLD]).float()
    centre = both[:, :, top : height - top, left : width - left].mean(dim=(2, 3), keepdim=True)
    kept = torch.where(centre[0] >= centre[1], both[0], both[1]).unsqueeze(1)
    for _ in range(2):
        kept = functional.max_pool2d(kept, 3, 1, 1)
    masks = -functional.max_pool2d(-kept, 3, 1, 1)[:, 0] > 0
    return masks | ~masks.flatten(1).any(dim=1).view(-1, 1, 1)


def principal_direction(centred: Tensor) -> Tensor:
    """First principal direction [n, dim, 1] of centred rows [n, m, dim], up to its sign and length 1.

    A power of the covariance, by repeated squaring, as exports have no eigenvectors.
    """
    power = centred.transpose(1, 2) @ centred
    for _ in range(_SQUARINGS):
        power = power / power.diagonal(dim1=1, dim2=2).sum(dim=1).clamp_min(1e-12).view(-1, 1, 1)
        power = power @ power
    largest = power.diagonal(dim1=1, dim2=2).argmax(dim=1).view(-1, 1, 1).expand(-1, power.shape[1], 1)
    return functional.normalize(power.gather(2, largest), dim=1)
