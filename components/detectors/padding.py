"""What the detectors that rate patches share: the patches of the padding take no part."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class PatchDetector(nn.Module, ABC):
    """A detector that rates the patches of an image one by one."""

    content: Tensor | None
    """Which patches [h, w] of an image are no padding; None for all."""

    def __init__(self, image_score: str) -> None:
        super().__init__()
        self.image_score = image_score
        self.register_buffer("content", None, persistent=False)

    def mask_padding(self, content: Tensor) -> None:
        """Keep patches out of training, the maps and the score, but for those [h, w] of the content."""
        self.content = content

    def inside(self, patches: Tensor) -> Tensor:
        """Those [n, m, ...] of the patches [n, h, w, ...] that are no padding."""
        return patches.flatten(1, 2) if self.content is None else patches[:, self.content]

    def shown(self, values: Tensor) -> Tensor:
        """Values [n, h, w] of patches, 0 in the padding."""
        return values if self.content is None else values * self.content

    @abstractmethod
    def embed(self, images: Tensor) -> Tensor:
        """Patches [n, h, w, d] of images [n, 3, height, width] in [0, 1]."""
