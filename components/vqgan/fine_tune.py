"""The fine-tuning loop: L candidate sets and the updated generator (paper section 4.2)."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.artifacts import STEPS, ImageSet, new_directory, write_candidates, write_table
from components.compute import device, seed_everything
from components.vqgan.config import Config
from components.vqgan.discriminator import PatchDiscriminator, hinge_loss
from components.vqgan.latents import sample_latents
from components.vqgan.losses import GeneratorLoss, adaptive_weight, mse_loss
from components.vqgan.model import build_generator, restart_codes, save_generator, to_image_range, to_model_range
from components.vqgan.perceptual import NAME as PERCEPTUAL_NAME
from components.vqgan.perceptual import PerceptualDistance

ADAM_BETAS = (0.5, 0.9)
"""As in taming-transformers."""

OnStep = Callable[[int, int, Mapping[str, float]], None]
"""Called after each step with the step, counted from 1, the number of steps, and the scalars."""


def fine_tune(
    reference: str | Path,
    augmented: str | Path,
    candidates: str | Path,
    generator: str | Path,
    config: Config,
    on_step: OnStep,
) -> dict[str, Any]:
    """Write the candidate sets of all iterations and the fine-tuned generator.

    Args:
        reference: image set with the given images I^o; its good training images are read.
        augmented: image set with I_1 ... I_N.
        candidates: artifact to write.
        generator: artifact to write.
        config: settings.
        on_step: told the losses of every step.

    Returns:
        Scalars of the last iteration, and what the loop ran with.

    Raises:
        InputError: the weights do not fit the architecture.
    """
    seed_everything(config.seed)
    loop = FineTuning(load_groups(reference, augmented), config)
    steps: list[dict[str, float]] = []
    rows: list[dict[str, float]] = []
    with new_directory(candidates) as directory:
        for iteration in range(config.iterations):
            started = time.perf_counter()
            steps += _run_iteration(loop, iteration, on_step)
            row = _summarise(steps[-config.steps :]) | {"iteration": iteration, **loop.finish_iteration()}
            images = loop.generate(config.images)
            rows.append(row | {"seconds": time.perf_counter() - started})
            write_candidates(directory, iteration, images, rows)
        write_table(directory / STEPS, steps)
    with new_directory(generator) as directory:
        save_generator(loop.model, directory, config, config.iterations * config.steps)
    origin = config.weights.partition("#")[0] or "untrained"
    last = {f"last_{name}": value for name, value in rows[-1].items()}
    return last | {"generator_start": origin, "perceptual_term": PERCEPTUAL_NAME}


def load_groups(reference: str | Path, augmented: str | Path) -> list[tuple[Tensor, Tensor]]:
    """Each given image [1, 3, height, width] with its augmentations [n, 3, height, width], all in [-1, 1]."""
    given, images = ImageSet(reference), ImageSet(augmented)
    groups = []
    for id in given.ids("train", "good"):
        own = images.manifest.loc[images.manifest["source"] == id, "id"]
        groups.append((to_model_range(given.tensor([id])), to_model_range(images.tensor(list(own)))))
    return groups


class FineTuning:
    """Models, optimisers and the data of the loop."""

    def __init__(self, groups: list[tuple[Tensor, Tensor]], config: Config) -> None:
        """Build the generator and the discriminator.

        Args:
            groups: as `load_groups` returns them.
            config: settings.
        """
        self.config = config
        self.model = build_generator(config).to(device(), memory_format=torch.channels_last).train()
        self._groups = groups
        self._perceptual = PerceptualDistance().to(device())
        self._discriminator = PatchDiscriminator().to(device())
        rate = config.learning_rate
        self._optimizer = torch.optim.Adam(self.model.parameters(), rate, ADAM_BETAS)
        self._discriminator_optimizer = torch.optim.Adam(self._discriminator.parameters(), rate, ADAM_BETAS)
        self._used = torch.zeros(config.codebook_size, dtype=torch.bool, device=device())
        self._step = 0
        if not config.weights:
            restart_codes(self.model, self._encode(groups[0][1][: config.batch_size]), self._used)

    def step(self) -> dict[str, float]:
        """One update of encoder, decoder and codebook on Eq. 7, and of the discriminator."""
        given, images = self._batch()
        adversarial = self._step >= self.config.adversarial_start
        loss, reconstructed = self._generator_loss(given, images, adversarial)
        self._optimizer.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        scalars = loss.scalars()
        scalars["discriminator"] = self._update_discriminator(images, reconstructed) if adversarial else 0.0
        self._step += 1
        return scalars

    @torch.no_grad()
    def generate(self, count: int) -> Tensor:
        """Decode `count` sampled latents, spread over the given images, to [count, 3, height, width] in [0, 1]."""
        share = [count // len(self._groups) + (index < count % len(self._groups)) for index in range(len(self._groups))]
        samples = []
        for (_, images), own in zip(self._groups, share, strict=True):
            if own:
                quantised = torch.cat([self._quantise(self._encode(batch))[0] for batch in self._split(images)])
                samples.append(sample_latents(quantised, own, self.config))
        decoded = [self._decode(batch).cpu() for batch in self._split(torch.cat(samples))]
        return to_image_range(torch.cat(decoded))

    @torch.no_grad()
    def finish_iteration(self) -> dict[str, float]:
        """Restart the codes that the iteration did not use; codebook use and the first given image's PSNR in dB."""
        latents = self._encode(self._groups[0][1][: self.config.batch_size])
        used = int(self._used.sum())
        given = self._groups[0][0].to(device())
        reconstructed = self._decode(self._quantise(self._encode(given))[0])
        error = (to_image_range(reconstructed) - to_image_range(given)).square().mean()
        if self.config.restart_codes:
            restart_codes(self.model, latents, self._used)
        self._used.zero_()
        return {"codes_used": used, "psnr": float(-10 * error.log10())}

    def _batch(self) -> tuple[Tensor, Tensor]:
        given, images = self._groups[self._step % len(self._groups)]
        drawn = torch.randperm(len(images))[: self.config.batch_size]
        return given.to(device()), images[drawn].to(device(), memory_format=torch.channels_last)

    def _generator_loss(self, given: Tensor, images: Tensor, adversarial: bool) -> tuple[GeneratorLoss, Tensor]:
        config = self.config
        quantised, codebook, codes = self._quantise(self._encode(images))
        self._used[codes] = True
        generated = self._decode(sample_latents(quantised, len(images), config))
        reconstructed = self._decode(quantised)
        mse = mse_loss(given, generated)
        reconstruction = (images - reconstructed).abs().mean()
        perceptual = self._perceptual(reconstructed, images).mean()
        faithful = reconstruction + config.perceptual_weight * perceptual
        fooling, weight = self._adversarial_term(faithful, reconstructed, adversarial)
        vq = faithful + config.adversarial_weight * weight * fooling + codebook
        loss = GeneratorLoss(
            mse=mse,
            reconstruction=reconstruction,
            perceptual=perceptual,
            adversarial=fooling,
            codebook=codebook,
            adaptive_weight=weight,
            total=mse + config.vq_weight * vq,
        )
        return loss, reconstructed.detach()

    def _adversarial_term(self, faithful: Tensor, reconstructed: Tensor, active: bool) -> tuple[Tensor, Tensor]:
        if not active:
            return torch.zeros((), device=device()), torch.zeros((), device=device())
        fooling = -self._discriminator(reconstructed).mean()
        return fooling, adaptive_weight(faithful, fooling, self.model.decoder.conv_out.weight)

    def _update_discriminator(self, images: Tensor, reconstructed: Tensor) -> float:
        loss = hinge_loss(self._discriminator(images), self._discriminator(reconstructed))
        self._discriminator_optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._discriminator_optimizer.step()
        return float(loss.detach())

    def _encode(self, images: Tensor) -> Tensor:
        latents: Tensor = self.model.encode(images.to(device())).latents
        return latents

    def _quantise(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Quantised latents [n, c, h, w] (Eq. 2), codebook loss, and the codes' indices [n * h * w]."""
        quantised, loss, (_, _, codes) = self.model.quantize(latents)
        return quantised, loss, codes

    def _decode(self, latents: Tensor) -> Tensor:
        samples: Tensor = self.model.decode(latents, force_not_quantize=True).sample
        return samples

    def _split(self, tensors: Tensor) -> Iterator[Tensor]:
        return iter(torch.split(tensors, self.config.batch_size))


def _run_iteration(loop: FineTuning, iteration: int, on_step: OnStep) -> list[dict[str, float]]:
    rows = []
    total = loop.config.iterations * loop.config.steps
    for index in range(loop.config.steps):
        step = iteration * loop.config.steps + index + 1
        scalars = {"iteration": float(iteration), **loop.step()}
        on_step(step, total, scalars)
        rows.append({"step": float(step), **scalars})
    return rows


def _summarise(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of each scalar over the steps of an iteration."""
    names = [name for name in rows[0] if name != "step"]
    return {name: sum(row[name] for row in rows) / len(rows) for name in names}
