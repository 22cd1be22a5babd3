"""Sampling of latents around the augmentations' mean, by their variance (paper section 4.1.2, Eq. 3).

Legend: n augmentations, c latent channels, h x w latent positions.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from components.vqgan.config import Config

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Variation:
    """How quantised latents vary about the mean of the image that they were made from."""

    deviations: "Tensor"
    """E(I_i) - E [n, c, h, w]: latents less the mean of their own group."""
    freedom: int
    """Degrees of freedom: n less the number of means."""

    @classmethod
    def pooled(cls, groups: "Sequence[Tensor]") -> Self:
        """Variation of groups of latents [n, c, h, w], n of at least 2, each about its own mean."""
        import torch

        deviations = [latents - latents.mean(dim=0) for latents in groups]
        return cls(torch.cat(deviations), sum(len(latents) - 1 for latents in groups))

    def variance(self, rule: str) -> "Tensor":
        """Sigma [c, h, w], per position and channel: `estimated` (unbiased), `unit` for 1, or `none` for 0."""
        import torch

        if rule == "unit":
            return torch.ones_like(self.deviations[0])
        if rule == "none":
            return torch.zeros_like(self.deviations[0])
        return self.deviations.square().sum(dim=0) / self.freedom

    def noise(self, count: int, config: Config) -> "Tensor":
        """Draws [count, c, h, w] with mean 0 and variance Sigma at every position.

        `independent`: each value by itself, as Eq. 3 is printed. `lowrank`: sum_i eps_i (E(I_i) - E) / sqrt(freedom),
        eps_i ~ N(0, 1), which has the same variance, and the covariance between positions that the latents have. The
        numbers are drawn on the processor, so that every device has the same.
        """
        import torch

        deviations = self.deviations
        if config.covariance == "lowrank":
            weights = _drawn(deviations, count, len(deviations))
            return torch.einsum("mn,nchw->mchw", weights, deviations) / math.sqrt(self.freedom)
        return self.variance(config.variance).sqrt() * _drawn(deviations, count, *deviations.shape[1:])


def sample_centers(latents: "Tensor", count: int, config: Config) -> "Tensor":
    """What is sampled around [count, c, h, w]: the mean of E(I_i) [n, c, h, w] of one image, or each E(I_i) in turn."""
    import torch

    if config.center == "mean":
        return latents.mean(dim=0, keepdim=True).expand(count, -1, -1, -1)
    return latents[torch.arange(count, device=latents.device) % len(latents)]


def sample_latents(latents: "Tensor", count: int, config: Config, variation: Variation) -> "Tensor":
    """Draw M latents [count, c, h, w] from N(E_d, Sigma_d) at each position d, for E(I_i) [n, c, h, w] of one image.

    The draw is reparameterised, so that gradients reach the latents through the center; the variation is a constant.
    """
    return sample_centers(latents, count, config) + config.temperature * variation.noise(count, config)


@dataclass(frozen=True)
class SamplingPlan:
    """Turns of several given images: in the batches, in the candidate sets, and in a batch of all of them.

    Every given image has a batch and a sample in each iteration; what is left over is given out where the iteration
    before stopped, so that all get equally many over the iterations.
    """

    given: int
    """Number of given images."""
    config: Config

    @property
    def steps(self) -> int:
        """Optimiser steps of an iteration."""
        return max(self.config.steps, math.ceil(self.given / self.config.accumulate))

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole loop."""
        return self.config.iterations * self.steps

    @property
    def images(self) -> int:
        """Images of a set."""
        return max(self.config.images, self.given)

    def given_of(self, batch: int) -> int:
        """Given image of a batch, which is counted from the loop's first."""
        return batch % self.given

    def shares(self, iteration: int) -> list[int]:
        """How many samples of a set each given image gets; they differ by one at most."""
        whole, more = divmod(self.images, self.given)
        first = iteration * self.images % self.given
        return [whole + ((index - first) % self.given < more) for index in range(self.given)]

    def mixed_batch(self, iteration: int) -> list[tuple[int, int]]:
        """Given image, and number among its augmentations, of each image of a batch over all given images."""
        first = iteration * self.config.batch_size % self.given
        return [((first + place) % self.given, place // self.given) for place in range(self.config.batch_size)]


def _drawn(like: "Tensor", *shape: int) -> "Tensor":
    """Standard normal numbers, with the type of a tensor, on its device."""
    import torch

    return torch.randn(shape, dtype=like.dtype).to(like.device)
