"""The fine-tuning loop's arithmetic (paper sections 4.1.2 and 4.2).

In each of L iterations, some steps of Adam on Eq. 7 are followed by the decoding of M samples, the candidate set:

    E(I_i)  = q(encoder(I_i))                                       Eq. 2, quantised latents
    I_m^+   = decoder(z_m),  z_m ~ N(E_d, Sigma_d) at position d    Eq. 3, E_d and Sigma_d over the augmentations
    L_mse   = 1/n * sum_m ||I^o - I_m^+||^2                         Eq. 6, n by config.mse_mean
    L       = L_mse + lambda * L_vq                                 Eq. 7, minimised by encoder, decoder and codebook

    paper        here                                   paper     here
    I^o          given [1, 3, height, width]            L         config.iterations
    I_1 .. I_N   augmented [n, 3, height, width]        M         config.images
    E(I_i)       quantised [n, c, h, w]                 lambda    config.vq_weight
    Sigma        latents.Variation [c, h, w]            L_vq      generator.losses.VqLoss
    I_m^+        generated [M, 3, height, width]        q, K      the quantiser, config.codebook_size
"""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache, partial, wraps
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components.compute import device, placed
from components.errors import check
from components.generator.checkpoint import TrainingState
from components.generator.losses import ADAM_BETAS, VqLoss
from components.generator.model import build_generator, decode, encode, quantise, restart_codes, to_image_range
from components.networks.perceptual import psnr
from components.preprocessing.stored import Images, in_batches
from components.vqgan.alignment import aligned
from components.vqgan.config import Config
from components.vqgan.groups import Groups
from components.vqgan.latents import SamplingPlan, Spread, Variation, keeps_latents, sample_latents

if TYPE_CHECKING:
    from diffusers import VQModel

_POOLED = 8
"""Given images whose augmentations, or which themselves, the variation is estimated over."""
_KEPT_BYTES = 2**30
"""Variations that are kept for another batch of the same iteration; what is more is estimated anew."""

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
_Method = Callable[Concatenate["FineTuning", _Arguments], _Result]


def _in_precision(method: "_Method[_Arguments, _Result]") -> "_Method[_Arguments, _Result]":
    """Let a method compute in the config's precision; weights, their moments, losses and codes stay in float32."""

    @wraps(method)
    def run(loop: "FineTuning", /, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
        # A weight that was cast without gradients must not be reused where they are wanted: no cache.
        lower = loop.config.precision == "bfloat16"
        with torch.autocast(device().type, torch.bfloat16, enabled=lower, cache_enabled=False):
            return method(loop, *args, **kwargs)

    return run


class FineTuning:
    """Generator, loss, optimisers and data of the loop."""

    def __init__(self, groups: Groups, config: Config) -> None:
        """Build the generator and the loss, and move the codes that no given image uses to latents of the data."""
        one = len(groups) == 1
        check(not one or config.variation != "given", "vqgan.variation", "given", "augmentations, with 1 given image")
        self.config = config
        self.model = placed(build_generator(config, config.commitment)).train()
        self.loss = VqLoss(self.model.decoder.conv_out.weight, config, config.step_size)
        self.plan = SamplingPlan(len(groups), config)
        self._groups = groups
        self._optimizer = torch.optim.Adam(self.model.parameters(), config.step_size, ADAM_BETAS)
        self._variations: dict[int, Variation] = {}
        self._used = torch.zeros(config.codebook_size, dtype=torch.bool, device=device())
        self.state = TrainingState(
            modules={"generator": self.model, "discriminator": self.loss.discriminator},
            optimizers={"generator": self._optimizer, "discriminator": self.loss.optimizer},
            tensors={"used": self._used},
        )
        self._start_codebook()
        self.averaged: VQModel = self.model
        """The generator that samples and is saved: the moving average of the weights, where there is one."""
        self._average: AveragedModel | None = None
        if config.ema:
            averaging = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
            self._average = AveragedModel(self.model, multi_avg_fn=averaging)
            self.averaged = self._average.module
            self.state.modules["average"] = self._average

    @_in_precision
    def update(self) -> dict[str, float]:
        """One step on Eq. 7, and of the discriminator; means of the scalars. `RuntimeError`: the loss is not finite."""
        config, model, done = self.config, self.model, self.state.step
        if done % self.plan.steps == 0:
            self._start_iteration()
        adversarial = done >= config.adversarial_start * self.plan.total_steps
        self._optimizer.zero_grad(set_to_none=True)
        rows, pairs = [], []
        for batch in range(done * config.accumulate, (done + 1) * config.accumulate):
            turn = self.plan.given_of(batch)
            given, images = self._groups[turn]
            augmented = images[torch.randperm(len(images))[: config.batch_size]].to(device())
            quantised, codebook, codes = quantise(model, encode(model, augmented))  # Eq. 2
            samples = sample_latents(quantised, len(augmented), config, self._variation_of_batch(batch))
            generated = decode(model, samples)  # Eq. 3
            reconstructed = decode(model, quantised)
            mse = mse_loss(given[:].to(device()), generated, config.mse_mean)  # Eq. 6
            vq = self.loss(augmented, reconstructed, codebook, adversarial=adversarial)
            total = config.mse_weight * mse + config.vq_weight * vq.total  # Eq. 7
            rows.append({"mse": float(mse.detach()), **vq.scalars(), "total": float(total.detach())})
            self._require_finite(math.isfinite(rows[-1]["total"]), "loss is")
            (total / config.accumulate).backward()  # type: ignore[no-untyped-call]
            self._used[codes] = True
            pairs += [(augmented, reconstructed.detach())] if adversarial else []
        self._optimizer.step()
        if self._average:
            self._average.update_parameters(model)
        scalars = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        scalars["discriminator"] = self.loss.update_discriminator(pairs) if adversarial else 0.0
        self.state.step += 1
        return scalars

    def finish_iteration(self) -> dict[str, float]:
        """Number of codes that the iteration used, and the first given image's PSNR in dB."""
        self._variations.clear()
        return {"codes_used": float(self._used.sum()), "psnr": self.psnr()}

    def sample(self) -> Iterator[Tensor]:
        """The set of an iteration in [0, 1], by batches [k, 3, height, width] of one given image each.

        `RuntimeError` where a value is not finite.
        """
        config, model = self.config, self.averaged
        spread = lru_cache(_POOLED)(partial(self._spread, model=model))
        for turn, own in enumerate(self.plan.shares(self._iteration)):
            start, variation = 0, self._variation(turn, model, spread)
            for noise in variation.draws(own, config.batch_size, config):
                places = torch.arange(start, start + len(noise))
                yield self._sampled(turn, places, spread(turn).centers(places, config), noise)
                start += len(noise)

    @torch.no_grad()
    @_in_precision
    def _sampled(self, turn: int, places: Tensor, centers: Tensor, noise: Tensor) -> Tensor:
        """Images [k, 3, height, width] in [0, 1] of a given image's samples, by their numbers [k] and their noise."""
        config, model, (given, images) = self.config, self.averaged, self._groups[turn]
        found = decode(model, centers + config.temperature * noise).cpu()
        if config.decode == "residual":
            base = given[:] if config.center == "mean" else images[places % len(images)]
            found = base + found - decode(model, centers).cpu()
        self._require_finite(bool(found.isfinite().all()), "generated images are")
        return to_image_range(found)

    def sampled_around(self) -> list[int]:
        """Numbers of the given images that `sample` would sample around, one for each of its images in their order."""
        shares = self.plan.shares(self._iteration)
        return [index for index, share in enumerate(shares) for _ in range(share)]

    @torch.no_grad()
    @_in_precision
    def psnr(self) -> float:
        """PSNR in dB of the first given image's reconstruction."""
        model, given = self.averaged, self._groups[0][0][:].to(device())
        reconstructed = decode(model, quantise(model, encode(model, given))[0])
        return float(psnr(to_image_range(reconstructed), to_image_range(given)))

    @torch.no_grad()
    @_in_precision
    def _start_codebook(self) -> None:
        """Move the codes that no given image uses to latents of the data: of an untrained codebook, all."""
        used = torch.zeros_like(self._used)
        if not self.config.untrained:
            count = max(1, self.config.batch_size // len(self._groups))
            for _, images in self._groups:
                used[quantise(self.model, encode(self.model, images[:count]))[2]] = True
        if self.config.untrained or self.config.restart_codes:
            restart_codes(self.model, encode(self.model, self._mixed_batch()), used)

    @torch.no_grad()
    def _start_iteration(self) -> None:
        """Move the codes that the iteration before left unused to latents of the data."""
        if self.state.step and self.config.restart_codes:
            restart_codes(self.model, encode(self.model, self._mixed_batch()), self._used)
            # The average would else lag behind for long.
            moved = self.model.quantize.embedding.weight[~self._used]
            self.averaged.quantize.embedding.weight[~self._used] = moved
        self._used.zero_()

    def _variation_of_batch(self, batch: int) -> Variation:
        """Variation about the given image of a batch, kept where the image has another batch in the same iteration."""
        turn = self.plan.given_of(batch)
        if turn in self._variations:
            return self._variations[turn]
        found = self._variation(turn, self.model, partial(self._spread, model=self.model))
        kept = sum(variation.nbytes for variation in self._variations.values())
        if self.plan.comes_again(batch) and kept + found.nbytes <= _KEPT_BYTES:
            self._variations[turn] = found
        return found

    @torch.no_grad()
    @_in_precision
    def _variation(self, turn: int, model: "VQModel", spread: Callable[[int], Spread]) -> Variation:
        """Variation about a given image: pooled over it and those whose turn is next, or of these moved onto it.

        `spread` gives that of the augmentations of a given image.
        """
        count = len(self._groups)
        others = [(turn + offset) % count for offset in range(min(count, _POOLED))]
        if self.config.variation == "given":
            given = torch.cat([self._groups[other][0][:] for other in others])
            return Variation.pooled([torch.cat(list(self._latents(aligned(given, given[:1]), model)))])
        return Variation.of([spread(other) for other in others])

    @torch.no_grad()
    @_in_precision
    def _spread(self, turn: int, model: "VQModel") -> Spread:
        """Spread of the latents of a given image's augmentations."""
        latents = self._latents(self._groups[turn][1], model)
        return Spread.of(latents, keep=keeps_latents(self.config))

    def _latents(self, images: Images, model: "VQModel") -> Iterator[Tensor]:
        """Quantised latents of images, by batches."""
        for batch in in_batches(images, self.config.batch_size):
            yield quantise(model, encode(model, batch))[0]

    @property
    def _iteration(self) -> int:
        return self.state.step // self.plan.steps

    def _mixed_batch(self) -> Tensor:
        """A batch of augmented images of all given ones in turn, of others in the next iteration; of fewer, all."""
        chosen = self.plan.mixed_batch(self._iteration)
        images = [(self._groups[group][1], place) for group, place in chosen]
        return torch.cat([own[place : place + 1] for own, place in images if place < len(own)])

    def _require_finite(self, finite: bool, what: str) -> None:
        if not finite:
            rate = self.config.step_size
            raise RuntimeError(
                f"the loop diverged: the {what} not finite after {self.state.step} steps; "
                f"try a vqgan.learning_rate below {rate:g}"
            )


def mse_loss(given: Tensor, generated: Tensor, mean: str) -> Tensor:
    """Eq. 6: (1/n) sum over m of ||I^o - I_m^+||^2, of I^o [1, 3, height, width] and I_m^+ [M, 3, height, width].

    n is the number of all `values`, or of the `images`, M.
    """
    squares = (given - generated).square()
    return squares.mean() if mean == "values" else squares.flatten(1).sum(dim=1).mean()
