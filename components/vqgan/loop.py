"""One step of the fine-tuning loop, and the sampling of a set (paper sections 4.1.2 and 4.2)."""

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from components.compute import device, placed
from components.generator.checkpoint import (
    optimizer_tensors,
    random_tensors,
    restore_optimizer,
    restore_random,
    strip_prefix,
)
from components.generator.losses import LoopLoss, mse_loss
from components.generator.model import build_generator, decode, encode, psnr, quantise, restart_codes, to_image_range
from components.generator.vq_loss import ADAM_BETAS, VqLoss
from components.vqgan.config import Config
from components.vqgan.latents import sample_latents

if TYPE_CHECKING:
    from diffusers import VQModel

Groups = list[tuple[Tensor, Tensor]]
"""Given images [1, 3, height, width], each with its augmentations [n, 3, height, width], in [-1, 1]."""


class FineTuning:
    """Models, optimisers and the data of the loop."""

    def __init__(self, groups: Groups, config: Config) -> None:
        """Build the generator and the loss.

        Args:
            groups: given images with their augmentations.
            config: settings.
        """
        self.config = config
        self.model = placed(build_generator(config)).train()
        self.loss = VqLoss(self.model.decoder.conv_out.weight, config)
        self.step_index = 0
        self._groups = groups
        self._optimizer = torch.optim.Adam(self.model.parameters(), config.learning_rate, ADAM_BETAS)
        self._used = torch.zeros(config.codebook_size, dtype=torch.bool, device=device())
        self._start_codebook()
        averaging = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]
        self._average = AveragedModel(self.model, multi_avg_fn=averaging) if config.ema else None

    @property
    def averaged(self) -> "VQModel":
        """The generator that samples and is saved: the moving average of the weights, where there is one."""
        return self._average.module if self._average else self.model

    def step(self) -> dict[str, float]:
        """One update of encoder, decoder and codebook on Eq. 7, and of the discriminator; means of the scalars.

        Raises:
            RuntimeError: the loss is no longer finite.
        """
        adversarial = self.step_index >= self.config.adversarial_start * self.config.total_steps
        self._optimizer.zero_grad(set_to_none=True)
        rows, pairs = [], []
        for index in range(self.config.accumulate):
            given, images = self._batch(self.step_index * self.config.accumulate + index)
            loss, reconstructed = self._loop_loss(given, images, adversarial)
            rows.append(loss.scalars())
            self._require_finite(math.isfinite(rows[-1]["total"]), "the loss is")
            (loss.total / self.config.accumulate).backward()  # type: ignore[no-untyped-call]
            pairs.append((images, reconstructed))
        self._optimizer.step()
        if self._average:
            self._average.update_parameters(self.model)
        scalars = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
        scalars["discriminator"] = self.loss.update_discriminator(pairs) if adversarial else 0.0
        self.step_index += 1
        return scalars

    @torch.no_grad()
    def generate(self, count: int) -> Tensor:
        """Decode `count` sampled latents, spread over the given images, to [count, 3, height, width] in [0, 1].

        Where there are more given images than samples, the next iteration takes the next ones.

        Raises:
            RuntimeError: the images are no longer finite.
        """
        model = self.averaged
        samples = []
        for (_, images), own in zip(self._groups, self._shares(count), strict=True):
            if own:
                quantised = torch.cat([quantise(model, encode(model, batch))[0] for batch in self._split(images)])
                samples.append(sample_latents(quantised, own, self.config))
        decoded = torch.cat([decode(model, batch).cpu() for batch in self._split(torch.cat(samples))])
        self._require_finite(bool(decoded.isfinite().all()), "generated images are")
        return to_image_range(decoded)

    @torch.no_grad()
    def finish_iteration(self) -> dict[str, float]:
        """Restart unused codes; codebook use since the last restart, and the first given image's PSNR in dB.

        A code counts as unused once every given image has had its turn.
        """
        scalars = {"codes_used": float(self._used.sum()), "psnr": self.psnr()}
        if self._iteration % self._iterations_for_all == 0:
            if self.config.restart_codes:
                self._restart()
            self._used.zero_()
        return scalars

    @torch.no_grad()
    def psnr(self) -> float:
        """PSNR in dB of the first given image's reconstruction."""
        given = self._groups[0][0].to(device())
        quantised, *_ = quantise(self.averaged, encode(self.averaged, given))
        return float(psnr(decode(self.averaged, quantised), given))

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        return {
            **{f"model.{key}": value for key, value in self.model.state_dict().items()},
            **{f"average.{key}": value for key, value in (self._average.state_dict() if self._average else {}).items()},
            **{f"discriminator.{key}": value for key, value in self.loss.discriminator.state_dict().items()},
            **optimizer_tensors(self._optimizer, "optimizer"),
            **optimizer_tensors(self.loss.optimizer, "discriminator_optimizer"),
            **random_tensors(),
            "used": self._used,
            "step": torch.tensor(self.step_index),
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Inverse of `state`."""
        self.model.load_state_dict(strip_prefix(tensors, "model"))
        if self._average:
            self._average.load_state_dict(strip_prefix(tensors, "average"))
        self.loss.discriminator.load_state_dict(strip_prefix(tensors, "discriminator"))
        restore_optimizer(self._optimizer, tensors, "optimizer")
        restore_optimizer(self.loss.optimizer, tensors, "discriminator_optimizer")
        restore_random(tensors)
        self._used.copy_(tensors["used"])
        self.step_index = int(tensors["step"])

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

    def _restart(self) -> None:
        """Move the unused codes, of the average too, where they would else lag behind for long."""
        restart_codes(self.model, encode(self.model, self._mixed_batch()), self._used)
        if self._average:
            moved = self.model.quantize.embedding.weight[~self._used]
            self.averaged.quantize.embedding.weight[~self._used] = moved

    @property
    def _iteration(self) -> int:
        return self.step_index // self.config.steps

    @property
    def _iterations_for_all(self) -> int:
        """Iterations in which every given image has had its turn."""
        return math.ceil(len(self._groups) / (self.config.steps * self.config.accumulate))

    def _shares(self, count: int) -> list[int]:
        """How many of `count` samples each given image gets; the first of those with one more moves on by iteration."""
        groups = len(self._groups)
        first = self._iteration * count % groups
        return [count // groups + ((index - first) % groups < count % groups) for index in range(groups)]

    def _mixed_batch(self) -> Tensor:
        """A batch of augmented images over the given images in turn, other ones in the next iteration."""
        size, groups = self.config.batch_size, len(self._groups)
        first = self._iteration * size % groups
        chosen = (self._groups[(first + place) % groups][1][place // groups :][:1] for place in range(size))
        return torch.cat(list(chosen))

    def _require_finite(self, finite: bool, what: str) -> None:
        if not finite:
            rate = self.config.learning_rate
            raise RuntimeError(
                f"the loop diverged: {what} after {self.step_index} steps not finite; "
                f"try a generator.learning_rate below {rate:g}"
            )

    def _batch(self, index: int) -> tuple[Tensor, Tensor]:
        given, images = self._groups[index % len(self._groups)]
        drawn = torch.randperm(len(images))[: self.config.batch_size]
        return given.to(device()), images[drawn].to(device())

    def _loop_loss(self, given: Tensor, images: Tensor, adversarial: bool) -> tuple[LoopLoss, Tensor]:
        quantised, codebook, codes = quantise(self.model, encode(self.model, images))
        self._used[codes] = True
        generated = decode(self.model, sample_latents(quantised, len(images), self.config))
        reconstructed = decode(self.model, quantised)
        mse = mse_loss(given, generated)
        vq = self.loss(images, reconstructed, codebook, adversarial=adversarial)
        return LoopLoss(mse=mse, vq=vq, total=mse + self.config.vq_weight * vq.total), reconstructed.detach()

    def _split(self, tensors: Tensor) -> Iterator[Tensor]:
        return iter(torch.split(tensors, self.config.batch_size))
