"""Sampling of latents around the augmentations' mean, by their variance (paper section 4.1.2, Eq. 3).

Legend: n augmentations, c latent channels, h x w latent positions.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.vqgan.config import Config

if TYPE_CHECKING:
    from torch import Tensor


def latent_variance(latents: "Tensor", rule: str) -> "Tensor":
    """Sigma [c, h, w] of quantised latents E(I_i) [n, c, h, w], per position and channel.

    By the rule: `estimated` (unbiased over n of at least 2), `unit` for 1, or `none` for 0.
    """
    import torch

    if rule == "unit":
        return torch.ones_like(latents[0])
    if rule == "none":
        return torch.zeros_like(latents[0])
    return latents.var(dim=0, correction=1)


def sample_latents(latents: "Tensor", count: int, config: Config) -> "Tensor":
    """Draw M latents [count, c, h, w] from N(E_d, Sigma_d) at each position d, for E(I_i) [n, c, h, w] of one image.

    The draw is reparameterised, so that gradients reach the latents through the center; Sigma is a constant.
    """
    import torch

    variance = latent_variance(latents.detach(), config.variance)
    if config.center == "mean":
        center = latents.mean(dim=0, keepdim=True).expand(count, -1, -1, -1)
    else:
        center = latents[torch.arange(count, device=latents.device) % len(latents)]
    noise = torch.randn(center.shape, device=center.device, dtype=center.dtype)
    return center + config.temperature * variance.sqrt() * noise


@dataclass(frozen=True)
class SamplingPlan:
    """Turns of several given images: in the batches, in the candidate sets, and in a batch of all of them.

    Each iteration starts where the one before stopped, so that all given images get equally many over the iterations.
    """

    given: int
    """Number of given images."""
    config: Config

    def given_of(self, batch: int) -> int:
        """Given image of a batch, which is counted from the loop's first."""
        return batch % self.given

    def all_had_their_turn(self, iteration: int) -> bool:
        """Whether the batches before an iteration make up whole rounds over the given images, to the iteration."""
        return iteration % math.ceil(self.given / (self.config.steps * self.config.accumulate)) == 0

    def shares(self, count: int, iteration: int) -> list[int]:
        """How many of the `count` samples of a set each given image gets; they differ by one at most."""
        whole, more = divmod(count, self.given)
        first = iteration * count % self.given
        return [whole + ((index - first) % self.given < more) for index in range(self.given)]

    def mixed_batch(self, iteration: int) -> list[tuple[int, int]]:
        """Given image, and number among its augmentations, of each image of a batch over all given images."""
        first = iteration * self.config.batch_size % self.given
        return [((first + place) % self.given, place // self.given) for place in range(self.config.batch_size)]
