"""Pretraining of a base model: the VQGAN's own loss on crops of many images (Esser et al., 2021)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components import __version__
from components.artifacts import CONFIG, WEIGHTS, file_sha256, new_directory, write_json
from components.compute import device, placed, seed_everything
from components.errors import check
from components.generator.checkpoint import (
    Checkpoint,
    optimizer_tensors,
    random_tensors,
    restore_optimizer,
    restore_random,
    strip_prefix,
)
from components.generator.model import decode, encode, new_generator, psnr, quantise, restart_codes
from components.generator.vq_loss import VqLoss
from components.pretraining.config import PretrainConfig
from components.pretraining.crops import CropSampler, centre_crop
from components.pretraining.publication import check_publication, publish_base
from components.pretraining.sources import read_sources
from components.stage.progress import OnStep

_UNFIXED = ("steps", "checkpoint_every", "sources", "datasets", "publish", "licence")
"""Settings that may differ when a checkpoint is taken up: the images count by their digest, not by their place."""
_EVALUATION_BATCH = 4
_ADAM_BETAS = (0.9, 0.99)
"""Longer memory than the adversarial training's, since reconstruction alone makes most of the steps."""


def pretrain(destination: str | Path, config: PretrainConfig, on_step: OnStep, name: str = "") -> dict[str, Any]:
    """Train a base model, write it, and publish it where the config says so.

    With the environment variable `VIGIL_CHECKPOINTS`, a folder or `s3://BUCKET/PREFIX`, a run that was killed, or that
    could not publish, goes on from its last checkpoint, to the same digits.

    Args:
        destination: generator artifact to write: tensors in half precision, and a config with the figures.
        config: settings.
        on_step: told the losses of every step.
        name: the base model's in the weights manifest.

    Returns:
        Figures on the held-out images, the digest of the weights, what was trained on, and the manifest, if any.

    Raises:
        InputError: a folder is missing, holds test images, or an image is damaged, or the base model cannot be
            published where the config says.
        OSError: the object store cannot be reached.
    """
    check_publication(name, config)
    seed_everything(config.seed)
    images, digest = read_sources(config)
    check(len(images) > 1, "pretraining.sources", f"{len(images)} image", "at least two images, one to hold out")
    train, held_out = split_images(images, config)
    training = Pretraining(train, config)
    checkpoint = Checkpoint({"version": __version__, "images": digest, **_fixed(config)})
    _train(training, checkpoint, on_step)
    training.model.half().float()  # the figures are those of the published half precision
    figures = evaluate(training.model, training.loss, held_out, max(config.sizes))
    facts = {
        "images": len(train),
        "held_out": len(held_out),
        "images_digest": digest,
        "perceptual": training.loss.perceptual.name,
        "vigil_version": __version__,
    }
    written = _write(Path(destination), training, figures | facts)
    published = publish_base(Path(destination), name, config, written)
    checkpoint.remove()
    return written | published


def _train(training: "Pretraining", checkpoint: Checkpoint, on_step: OnStep) -> None:
    """All steps that the checkpoint, where there is one, has not done yet."""
    config = training.config
    loaded = checkpoint.load()
    if loaded is not None:
        training.load_state(loaded[0])
    while training.step_index < config.steps:
        scalars = training.step()
        on_step(training.step_index, config.steps, scalars)
        if training.step_index % config.checkpoint_every == 0 or training.step_index == config.steps:
            checkpoint.save(training.state(), {})


def split_images(images: Sequence[Tensor], config: PretrainConfig) -> tuple[list[Tensor], list[Tensor]]:
    """Training and held-out images, drawn by the seed; at least one of each."""
    held_out = min(max(1, round(config.held_out * len(images))), len(images) - 1)
    order = np.random.default_rng(config.seed).permutation(len(images))
    return [images[index] for index in order[held_out:]], [images[index] for index in order[:held_out]]


class Pretraining:
    """Model, loss, optimiser and crops of a run."""

    def __init__(self, images: Sequence[Tensor], config: PretrainConfig) -> None:
        """Build an untrained generator.

        Args:
            images: training images [3, height, width], uint8.
            config: settings.
        """
        self.config = config
        model = new_generator(config.architecture, config.codebook_size, config.commitment)
        self.model = placed(model).train()
        self.loss = VqLoss(self.model.decoder.conv_out.weight, config)
        self.step_index = 0
        self._optimizer = torch.optim.Adam(self.model.parameters(), config.learning_rate, _ADAM_BETAS)
        self._crops = CropSampler(images, config)
        self._used = torch.zeros(config.codebook_size, dtype=torch.bool, device=device())

    def step(self) -> dict[str, float]:
        """One update of generator and codebook, and of the discriminator once it takes part."""
        images = self._crops.draw(self.step_index).to(device())
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_factor(self.step_index, self.config)
        if self.step_index < self.config.autoencoder_steps:
            scalars = self._autoencoder_step(images)
        else:
            scalars = self._vqgan_step(images)
        self.step_index += 1
        return scalars

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on."""
        return {
            **{f"model.{key}": value for key, value in self.model.state_dict().items()},
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
        self.loss.discriminator.load_state_dict(strip_prefix(tensors, "discriminator"))
        restore_optimizer(self._optimizer, tensors, "optimizer")
        restore_optimizer(self.loss.optimizer, tensors, "discriminator_optimizer")
        self._used.copy_(tensors["used"])
        restore_random(tensors)
        self.step_index = int(tensors["step"])

    def _autoencoder_step(self, images: Tensor) -> dict[str, float]:
        reconstructed = decode(self.model, encode(self.model, images))
        loss = (reconstructed - images).abs().mean()
        self._update(loss)
        return {"reconstruction": float(loss.detach()), "total": float(loss.detach())}

    def _vqgan_step(self, images: Tensor) -> dict[str, float]:
        config = self.config
        latents = encode(self.model, images)
        if self.step_index == config.autoencoder_steps:
            self._restart(latents)
        quantised, codebook, codes = quantise(self.model, latents)
        self._used[codes] = True
        reconstructed = decode(self.model, self._mixed(latents, quantised))
        adversarial = self.step_index >= config.adversarial_start * config.steps
        terms = self.loss(images, reconstructed, codebook, adversarial=adversarial)
        self._update(terms.total)
        scalars = terms.scalars()
        if adversarial:
            scalars["discriminator"] = self.loss.update_discriminator([(images, reconstructed)])
        if (self.step_index + 1) % config.restart_every == 0:
            scalars["codes_used"] = float(self._used.sum())
            self._restart(latents)
        return scalars

    def _mixed(self, latents: Tensor, quantised: Tensor) -> Tensor:
        """Each crop's latents [n, c, h, w] as the encoder gives them by the chance `unquantised`, else quantised."""
        drawn = torch.rand(len(latents), 1, 1, 1).to(latents.device)
        return torch.where(drawn < self.config.unquantised, latents, quantised)

    def _update(self, loss: Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def _restart(self, latents: Tensor) -> None:
        restart_codes(self.model, latents, self._used)
        self._used.zero_()


def learning_rate_factor(step: int, config: PretrainConfig) -> float:
    """Linear warm-up, a plateau, and linear decay to zero at the last step.

    The plateau does not depend on the number of steps, so that a run may be made longer before its decay starts.
    """
    rise = (step + 1) / config.warmup if config.warmup else 1.0
    fall = (config.steps - step) / (config.decay * config.steps) if config.decay else 1.0
    return min(1.0, rise, fall)


@torch.no_grad()
def evaluate(model: Any, loss: VqLoss, images: Sequence[Tensor], size: int) -> dict[str, float]:
    """Figures of the reconstructions of centre crops.

    Args:
        model: the VQGAN.
        loss: holds the perceptual network.
        images: [3, height, width], uint8.
        size: side of the crops in pixels.

    Returns:
        Mean PSNR in dB, mean perceptual distance, number of codes used, and the perplexity of their distribution.
    """
    model.eval()
    ratios, distances, indices = [], [], []
    for batch in torch.split(torch.stack([centre_crop(image, size) for image in images]), _EVALUATION_BATCH):
        crops = batch.to(device())
        quantised, _, codes = quantise(model, encode(model, crops))
        reconstructed = decode(model, quantised)
        ratios.append(psnr(reconstructed, crops))
        distances.append(loss.perceptual(reconstructed, crops))
        indices.append(codes.flatten())
    model.train()
    counts = torch.bincount(torch.cat(indices)).float()
    return {
        "psnr": float(torch.cat(ratios).mean()),
        "perceptual_distance": float(torch.cat(distances).mean()),
        "codes_used": float((counts > 0).sum()),
        "perplexity": perplexity(counts),
    }


def perplexity(counts: Tensor) -> float:
    """Exponential of the entropy of a distribution given by counts [K]."""
    share = counts[counts > 0] / counts.sum()
    return float((-(share * share.log()).sum()).exp())


def _fixed(config: PretrainConfig) -> dict[str, Any]:
    return {name: value for name, value in config.model_dump().items() if name not in _UNFIXED}


def _write(destination: Path, training: Pretraining, figures: dict[str, Any]) -> dict[str, Any]:
    from safetensors.torch import save_file

    with new_directory(destination) as directory:
        halved = {key: value.half().contiguous() for key, value in training.model.state_dict().items()}
        save_file(halved, directory / WEIGHTS)
        digest = file_sha256(directory / WEIGHTS)
        config = {**_fixed(training.config), "steps": training.config.steps}
        settings = {"config": config, "step": training.step_index, "figures": figures}
        write_json(directory / CONFIG, {**settings, "sha256": digest})
    return {**figures, "sha256": digest}
