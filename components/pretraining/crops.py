"""Training crops out of images of many sizes, every draw by the seed and the step alone."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from components.pretraining.config import Config

_LUMA = (0.299, 0.587, 0.114)


class CropSampler:
    """Draws the crops of each step; step s gives the same crops whatever was drawn before."""

    def __init__(self, images: Sequence[Tensor], config: Config) -> None:
        """Keep the images [3, height, width], uint8, each with its halvings, so that any scale is cheap to draw."""
        self._config = config
        self._pyramids = []
        for image in images:
            levels = [image]
            while min(levels[-1].shape[1:]) >= 2 * min(config.sizes):
                levels.append(functional.avg_pool2d(levels[-1].float()[None], 2)[0].round().byte())
            self._pyramids.append(levels)

    def draw(self, step: int) -> Tensor:
        """Crops [n, 3, size, size] in [-1, 1]: place, scale, flip, quarter turn and colour are drawn for each."""
        generator = np.random.default_rng((self._config.seed, step))
        size = int(generator.choice(self._config.sizes))
        count = max(1, self._config.batch_size * min(self._config.sizes) ** 2 // size**2)
        crops = torch.stack([self._crop(size, generator) for _ in range(count)])
        change, mean = self._config.colour_jitter, crops.mean(dim=(1, 2, 3), keepdim=True)
        drawn = torch.from_numpy(1 + generator.uniform(-change, change, size=(count, 5))).float()[..., None, None]
        contrasted = (crops - mean) * drawn[:, :1] + mean
        grey = (contrasted * torch.tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True)
        saturated = grey + (contrasted - grey) * drawn[:, 1:2]
        return (saturated * drawn[:, 2:]).clamp(0, 1) * 2 - 1

    def _crop(self, size: int, generator: np.random.Generator) -> Tensor:
        """A square whose side is drawn between `size` and all of the image, as [3, size, size] in [0, 1]."""
        pyramid = self._pyramids[generator.integers(len(self._pyramids))]
        shortest = min(pyramid[0].shape[1:])
        wanted = np.exp(generator.uniform(np.log(min(size, shortest)), np.log(shortest)))
        level = min(int(np.log2(max(wanted / size, 1))), len(pyramid) - 1)
        image = pyramid[level]
        side = min(round(wanted / 2**level), *image.shape[1:])
        row, column = (generator.integers(length - side + 1) for length in image.shape[1:])
        crop = resized(image[:, row : row + side, column : column + side], size)
        flipped = crop.flip(2) if generator.random() < 0.5 else crop
        return flipped.rot90(int(generator.integers(4)), (1, 2))


def resized(image: Tensor, size: int) -> Tensor:
    """Square uint8 image [3, side, side] as [3, size, size] in [0, 1], antialiased."""
    scaled = image.float().div(255)[None]
    if image.shape[1] != size:
        scaled = functional.interpolate(scaled, (size, size), mode="bicubic", antialias=True, align_corners=False)
    return scaled[0].clamp(0, 1)


def centre_crop(image: Tensor, size: int) -> Tensor:
    """Largest centred square of a uint8 image [3, height, width], as [3, size, size] in [-1, 1]."""
    side = min(image.shape[1:])
    row, column = ((length - side) // 2 for length in image.shape[1:])
    return resized(image[:, row : row + side, column : column + side], size) * 2 - 1
