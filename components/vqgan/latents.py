"""Sampling of latents around the augmentations' mean, by their variance (paper section 4.1.2, Eq. 3).

Legend: n augmentations, c latent channels, h x w latent positions.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from components.vqgan.config import Config

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Spread:
    """Mean and spread of the quantised latents E(I_i) that were made from one image."""

    mean: "Tensor"
    """E [c, h, w]."""
    squares: "Tensor"
    """Sum over the latents of (E(I_i) - E)^2 [c, h, w]."""
    count: int
    """n."""
    latents: "Tensor | None" = None
    """E(I_i) [n, c, h, w], where they were kept."""

    @classmethod
    def of(cls, batches: "Iterable[Tensor]", keep: bool) -> Self:
        """That of batches of latents [k, c, h, w], of which one at a time is in memory unless they are kept.

        Batches are joined by the parallel algorithm of Chan, Golub and LeVeque (1983).
        """
        import torch

        total, kept = None, []
        for batch in batches:
            part = cls._of_batch(batch)
            total = part if total is None else total._joined(part)
            kept += [batch] if keep else []
        assert total is not None
        return replace(total, latents=torch.cat(kept)) if keep else total

    def centers(self, places: "Tensor", config: Config) -> "Tensor":
        """What the samples of numbers [k] are sampled around [k, c, h, w]: E, or each E(I_i) in turn."""
        return _centers(self.mean, self.latents, places, config)

    @classmethod
    def _of_batch(cls, batch: "Tensor") -> Self:
        mean = batch.mean(dim=0)
        return cls(mean, (batch - mean).square().sum(dim=0), len(batch))

    def _joined(self, other: Self) -> Self:
        count, step = self.count + other.count, other.mean - self.mean
        mean = self.mean + step * (other.count / count)
        squares = self.squares + other.squares + step.square() * (self.count * other.count / count)
        return type(self)(mean, squares, count)


def keeps_latents(config: Config) -> bool:
    """Whether sampling needs the latents themselves, and not only their mean and variance."""
    return config.covariance == "lowrank" or config.center == "own"


@dataclass(frozen=True)
class Variation:
    """How quantised latents vary about the mean of the image that they were made from."""

    squares: "Tensor"
    """Sum over all latents of (E(I_i) - E)^2 [c, h, w], each less the mean of its own group."""
    freedom: int
    """Degrees of freedom: n less the number of means."""
    deviations: "Tensor | None" = None
    """E(I_i) - E [n, c, h, w], where the latents were kept."""

    @classmethod
    def pooled(cls, groups: "Sequence[Tensor]") -> Self:
        """Variation of groups of latents [n, c, h, w], n of at least 2, each about its own mean."""
        return cls.of([Spread.of([latents], keep=True) for latents in groups])

    @classmethod
    def of(cls, spreads: Sequence[Spread]) -> Self:
        """Variation of groups of latents, of at least 2 each, by their spreads."""
        import torch

        squares = torch.stack([spread.squares for spread in spreads]).sum(dim=0)
        deviations = [spread.latents - spread.mean for spread in spreads if spread.latents is not None]
        whole = torch.cat(deviations) if len(deviations) == len(spreads) else None
        return cls(squares, sum(spread.count - 1 for spread in spreads), whole)

    @property
    def nbytes(self) -> int:
        """Memory that it takes."""
        return self.squares.nbytes + (0 if self.deviations is None else self.deviations.nbytes)

    def variance(self, rule: str) -> "Tensor":
        """Sigma [c, h, w], per position and channel: `estimated` (unbiased), `unit` for 1, or `none` for 0."""
        import torch

        if rule == "unit":
            return torch.ones_like(self.squares)
        if rule == "none":
            return torch.zeros_like(self.squares)
        return self.squares / self.freedom

    def noise(self, count: int, config: Config) -> "Tensor":
        """Draws [count, c, h, w] with mean 0 and variance Sigma at every position."""
        return next(self.draws(count, count, config))

    def draws(self, count: int, size: int, config: Config) -> "Iterator[Tensor]":
        """The same, at most `size` of them at a time.

        `independent`: each value by itself, as Eq. 3 is printed. `lowrank`: sum_i eps_i (E(I_i) - E) / sqrt(freedom),
        eps_i ~ N(0, 1), which has the same variance, and the covariance between positions that the latents have. The
        numbers are drawn on the processor, so that every device has the same.
        """
        import torch

        if config.covariance == "lowrank":
            deviations = self.deviations
            assert deviations is not None
            for weights in torch.split(_drawn(self.squares, count, len(deviations)), size):
                yield torch.einsum("mn,nchw->mchw", weights, deviations) / math.sqrt(self.freedom)
            return
        deviation = self.variance(config.variance).sqrt()
        for start in range(0, count, size):
            yield deviation * _drawn(self.squares, min(size, count - start), *deviation.shape)


def sample_latents(latents: "Tensor", count: int, config: Config, variation: Variation) -> "Tensor":
    """Draw M latents [count, c, h, w] from N(E_d, Sigma_d) at each position d, for E(I_i) [n, c, h, w] of one image.

    The draw is reparameterised, so that gradients reach the latents through the center; the variation is a constant.
    """
    import torch

    centers = _centers(latents.mean(dim=0), latents, torch.arange(count), config)
    return centers + config.temperature * variation.noise(count, config)


def _centers(mean: "Tensor", latents: "Tensor | None", places: "Tensor", config: Config) -> "Tensor":
    if config.center == "mean":
        return mean.expand(len(places), -1, -1, -1)
    assert latents is not None
    return latents[places.to(latents.device) % len(latents)]


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

    def comes_again(self, batch: int) -> bool:
        """Whether the given image of a batch has another one in the same iteration."""
        batches = self.steps * self.config.accumulate
        return batch % batches + self.given < batches


def _drawn(like: "Tensor", *shape: int) -> "Tensor":
    """Standard normal numbers, with the type of a tensor, on its device."""
    import torch

    return torch.randn(shape, dtype=like.dtype).to(like.device)
