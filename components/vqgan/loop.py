"""The fine-tuning loop's arithmetic (paper sections 4.1.2 and 4.2).

In each of L iterations, some steps of Adam on Eq. 7 are followed by the decoding of M samples, the candidate set:

    E(I_i)  = q(encoder(I_i))                                       Eq. 2, quantised latents
    I_m^+   = decoder(z_m),  z_m ~ N(E_d, Sigma_d) at position d    Eq. 3, E_d and Sigma_d over the augmentations
    L_mse   = 1/n * sum_m ||I^o - I_m^+||^2                         Eq. 6, n values in all
    L       = L_mse + lambda * L_vq                                 Eq. 7, minimised by encoder, decoder and codebook

    paper        here                                   paper     here
    I^o          given [1, 3, height, width]            L         config.iterations
    I_1 .. I_N   augmented [n, 3, height, width]        M         config.images
    E(I_i)       quantised [n, c, h, w]                 lambda    config.vq_weight
    Sigma        latents.latent_variance [c, h, w]      L_vq      generator.losses.VqLoss
    I_m^+        generated [M, 3, height, width]        q, K      the quantiser, config.codebook_size
"""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components.compute import device, placed
from components.generator.checkpoint import TrainingState
from components.generator.losses import ADAM_BETAS, VqLoss
from components.generator.model import build_generator, decode, encode, quantise, restart_codes, to_image_range
from components.networks.perceptual import psnr
from components.vqgan.config import Config
from components.vqgan.latents import SamplingPlan, sample_latents

if TYPE_CHECKING:
    from diffusers import VQModel

Groups = list[tuple[Tensor, Tensor]]
"""Given images [1, 3, height, width], each with its augmentations [n, 3, height, width], in [-1, 1]."""


class FineTuning:
    """Generator, loss, optimisers and data of the loop."""

    def __init__(self, groups: Groups, config: Config) -> None:
        """Build the generator and the loss, and move the codes that no given image uses to latents of the data."""
        self.config = config
        self.model = placed(build_generator(config, config.commitment)).train()
        self.loss = VqLoss(self.model.decoder.conv_out.weight, config)
        self._groups = groups
        self._plan = SamplingPlan(len(groups), config)
        self._optimizer = torch.optim.Adam(self.model.parameters(), config.learning_rate, ADAM_BETAS)
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

    def update(self) -> dict[str, float]:
        """One step on Eq. 7, and of the discriminator; means of the scalars. `RuntimeError`: the loss is not finite."""
        config, model, done = self.config, self.model, self.state.step
        adversarial = done >= config.adversarial_start * config.total_steps
        self._optimizer.zero_grad(set_to_none=True)
        rows, pairs = [], []
        for batch in range(done * config.accumulate, (done + 1) * config.accumulate):
            given, images = self._groups[self._plan.given_of(batch)]
            augmented = images[torch.randperm(len(images))[: config.batch_size]].to(device())
            quantised, codebook, codes = quantise(model, encode(model, augmented))  # Eq. 2
            generated = decode(model, sample_latents(quantised, len(augmented), config))  # Eq. 3
            reconstructed = decode(model, quantised)
            mse = mse_loss(given.to(device()), generated)  # Eq. 6
            vq = self.loss(augmented, reconstructed, codebook, adversarial=adversarial)
            total = mse + config.vq_weight * vq.total  # Eq. 7
            rows.append({"mse": float(mse.detach()), **vq.scalars(), "total": float(total.detach())})
            self._require_finite(math.isfinite(rows[-1]["total"]), "loss is")
            (total / config.accumulate).backward()  # type: ignore[no-untyped-call]
            self._used[codes] = True
            pairs.append((augmented, reconstructed.detach()))
        self._optimizer.step()
        if self._average:
            self._average.update_parameters(model)
        scalars = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        scalars["discriminator"] = self.loss.update_discriminator(pairs) if adversarial else 0.0
        self.state.step += 1
        return scalars

    @torch.no_grad()
    def finish_iteration(self) -> dict[str, float]:
        """Move the unused codes to latents of the data once every given image has had its turn.

        Returns the number of codes used since they were moved last, and the first given image's PSNR in dB.
        """
        scalars = {"codes_used": float(self._used.sum()), "psnr": self.psnr()}
        if self._plan.all_had_their_turn(self._iteration):
            if self.config.restart_codes:
                restart_codes(self.model, encode(self.model, self._mixed_batch()), self._used)
                # The average would else lag behind for long.
                moved = self.model.quantize.embedding.weight[~self._used]
                self.averaged.quantize.embedding.weight[~self._used] = moved
            self._used.zero_()
        return scalars

    @torch.no_grad()
    def sample(self, count: int) -> Tensor:
        """Sampled images [count, 3, height, width] in [0, 1], spread over the given ones, if all are finite."""
        model, size = self.averaged, self.config.batch_size
        samples = []
        for (_, images), own in zip(self._groups, self._plan.shares(count, self._iteration), strict=True):
            if own:
                quantised = [quantise(model, encode(model, batch))[0] for batch in torch.split(images, size)]
                samples.append(sample_latents(torch.cat(quantised), own, self.config))
        decoded = torch.cat([decode(model, batch).cpu() for batch in torch.split(torch.cat(samples), size)])
        self._require_finite(bool(decoded.isfinite().all()), "generated images are")
        return to_image_range(decoded)

    @torch.no_grad()
    def psnr(self) -> float:
        """PSNR in dB of the first given image's reconstruction."""
        model, given = self.averaged, self._groups[0][0].to(device())
        reconstructed = decode(model, quantise(model, encode(model, given))[0])
        return float(psnr(to_image_range(reconstructed), to_image_range(given)))

    @torch.no_grad()
    def _start_codebook(self) -> None:
        """Move the codes that no given image uses to latents of the data: of an untrained codebook, all."""
        used = torch.zeros_like(self._used)
        if not self.config.untrained:
            count = max(1, self.config.batch_size // len(self._groups))
            for _, images in self._groups:
                used[quantise(self.model, encode(self.model, images[:count]))[2]] = True
        if self.config.untrained or self.config.restart_codes:
            restart_codes(self.model, encode(self.model, self._mixed_batch()), used)

    @property
    def _iteration(self) -> int:
        return self.state.step // self.config.steps

    def _mixed_batch(self) -> Tensor:
        """A batch of augmented images of all given ones in turn, of others in the next iteration."""
        chosen = self._plan.mixed_batch(self._iteration)
        return torch.cat([self._groups[group][1][place : place + 1] for group, place in chosen])

    def _require_finite(self, finite: bool, what: str) -> None:
        if not finite:
            rate = self.config.learning_rate
            raise RuntimeError(
                f"the loop diverged: the {what} not finite after {self.state.step} steps; "
                f"try a vqgan.learning_rate below {rate:g}"
            )


def mse_loss(given: Tensor, generated: Tensor) -> Tensor:
    """Eq. 6: (1/n) sum over m of ||I^o - I_m^+||^2, of I^o [1, 3, height, width] and I_m^+ [M, 3, height, width]."""
    return (given - generated).square().mean()
