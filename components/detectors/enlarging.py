"""Distances of patches as a smooth map in the size of the image."""

from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from torch import Tensor, eye
from torch.nn import functional


class Enlarge(AnomalyMapGenerator):  # type: ignore[misc]
    """The map of anomalib's PatchCore, the nearest patch's value under a Gaussian, by two matrix products.

    Enlarging and smoothing are linear and act on rows and columns apart, so that each is a matrix, and no pixel is
    averaged over 33 x 33 others.
    """

    def forward(self, patch_scores: Tensor, image_size: tuple[int, int]) -> Tensor:
        """Maps [n, 1, height, width] of values [n, 1, h, w]."""
        rows, columns = (self._along(*sides) for sides in zip(patch_scores.shape[-2:], image_size, strict=True))
        return rows @ patch_scores @ columns.T

    def _along(self, patches: int, pixels: int) -> Tensor:
        """Weights [pixels, patches] of the patches along one side of the image."""
        kernel = self.blur.kernel[0, 0].sum(dim=0)
        enlarged = functional.interpolate(eye(patches, device=kernel.device).unsqueeze(1), size=pixels)
        reach = kernel.shape[0] // 2
        padded = functional.pad(enlarged, [reach, reach], mode=self.blur.border_type)
        return functional.conv1d(padded, kernel.view(1, 1, -1)).squeeze(1).T
