"""A detector on the images of an image set: tiles are cut, scored and put together, and padding counts for nothing."""

from typing import TYPE_CHECKING

from anomalib.data import InferenceBatch
from torch import Tensor, nn

from components.detectors.memory_bank import BankDetector
from components.detectors.padding import PatchDetector
from components.detectors.scoring import highest
from components.preprocessing.geometry import Box
from components.preprocessing.transform import Preprocessing

if TYPE_CHECKING:
    from components.detectors.config import Config


def placed(model: nn.Module, config: "Config", preprocessing: Preprocessing) -> nn.Module:
    """A detector of network-sized images, trained or not, as one of the images of a set; itself where they are equal.

    A detector that rates patches is trained and scores without those of the padding; of the other detectors, what lies
    in the padding is left out of the score.
    """
    if preprocessing.tiled:
        return Tiled(model, preprocessing)
    if preprocessing.padded:
        if isinstance(model, PatchDetector):
            mask_padding(model, preprocessing.content_box, preprocessing.image_size)
        return Padded(model, preprocessing.content_box, config.image_score)
    return model


def mask_padding(model: PatchDetector, content: Box, side: int) -> None:
    """Keep the patches beside the content of images of a side out of training, the maps and the score."""
    import torch

    with torch.no_grad():
        _, height, width, _ = model.embed(torch.zeros(1, 3, side, side)).shape
    model.mask_padding(patches_inside(content, side, (height, width)))


def network_of(model: nn.Module) -> nn.Module:
    """The detector that `placed` got."""
    return model.network if isinstance(model, Tiled | Padded) else model


def bank_detector_of(model: nn.Module) -> BankDetector | None:
    """The detector that `placed` got, if it has a memory bank."""
    network = network_of(model)
    return network if isinstance(network, BankDetector) else None


def tiles_of(model: nn.Module) -> int:
    """Number of images that a network sees of one image."""
    return len(model.preprocessing.tile_boxes) if isinstance(model, Tiled) else 1


class Tiled(nn.Module):
    """Images [n, 3, height, width] in [0, 1] by a detector of their tiles."""

    network: nn.Module

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.network, self.preprocessing = network, preprocessing

    def forward(self, images: Tensor) -> InferenceBatch:
        """The highest score of an image's tiles, and their maps side by side."""
        found = self.network(self.preprocessing.cut(images))
        side, tiles = self.preprocessing.image_size, len(self.preprocessing.tile_boxes)
        scores = found.pred_score.reshape(-1, tiles).amax(dim=1)
        return InferenceBatch(
            pred_score=scores, anomaly_map=self.preprocessing.stitch(found.anomaly_map.reshape(-1, 1, side, side))
        )


class Padded(nn.Module):
    """Images [n, 3, side, side] in [0, 1], of which only a part is scored; the map is 0 in the padding beside it."""

    network: nn.Module

    def __init__(self, network: nn.Module, content: Box, image_score: str) -> None:
        """A network that rates no patches is scored by the highest values of its map, as `image_score` says."""
        super().__init__()
        self.network, self.content, self.image_score = network, content, image_score

    def forward(self, images: Tensor) -> InferenceBatch:
        """Scores and maps of the content."""
        found = self.network(images)
        maps = found.anomaly_map.reshape(-1, 1, *images.shape[-2:])
        rows, columns = self.content.slices
        inside = maps[..., rows, columns]
        masked = isinstance(self.network, PatchDetector)
        scores = found.pred_score.reshape(-1) if masked else highest(inside, self.image_score)
        height, width = images.shape[-2:]
        beside = [self.content.left, width - self.content.right, self.content.top, height - self.content.bottom]
        return InferenceBatch(pred_score=scores, anomaly_map=nn.functional.pad(inside, beside))


def patches_inside(content: Box, side: int, grid: tuple[int, int]) -> Tensor:
    """Whether each patch of a grid [height, width] over images of a side lies in the content by half or more."""
    import torch

    mask = torch.zeros(1, 1, side, side)
    rows, columns = content.slices
    mask[..., rows, columns] = 1
    return nn.functional.interpolate(mask, size=grid, mode="area")[0, 0] >= 0.5
