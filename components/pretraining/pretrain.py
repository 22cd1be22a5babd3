"""Pretraining of a base model: the VQGAN's own loss on crops of many images (Esser et al., 2021)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from components import __version__
from components.artifacts import CONFIG, WEIGHTS, file_sha256, new_directory, write_json
from components.compute import device, placed, seed_everything
from components.errors import check
from components.generator.checkpoint import Checkpoint, TrainingState
from components.generator.losses import VqLoss
from components.generator.model import (
    TRAINED_ON,
    decode,
    encode,
    new_generator,
    quantise,
    restart_codes,
    to_image_range,
)
from components.networks.perceptual import psnr
from components.pretraining.config import Config
from components.pretraining.crops import CropSampler, centre_crop
from components.pretraining.publication import check_publication, publish_base
from components.pretraining.sources import read_sources
from components.stage.progress import OnStep
from components.stage.provenance import code_digest

_UNFIXED = ("steps", "checkpoint_every", "sources", "datasets", "publish", "licence")
"""Settings that may differ when a checkpoint is taken up: the images count by their digest, not by their place."""
_EVALUATION_BATCH = 4
_ADAM_BETAS = (0.9, 0.99)
"""Longer memory than the adversarial training's, since reconstruction alone makes most of the steps."""


def pretrain(destination: str | Path, config: Config, on_step: OnStep, name: str = "") -> dict[str, Any]:
    """Train a base model, write it, and publish it where the config says so.

    With the environment variable `VIGIL_CHECKPOINTS`, a folder or `s3://BUCKET/PREFIX`, a run that was killed, or that
    could not publish, resumes from its last checkpoint, to the same digits.

    `destination` gets tensors in half precision and a config with the figures; `name` is the model's in the weights
    manifest. Returns figures on the held-out images, the weights' digest, what was trained on, and any manifest.
    `InputError`: a folder is missing or holds test images, an image is damaged, or the model cannot be published.
    """
    from safetensors.torch import save_file

    check_publication(name, config)
    seed_everything(config.seed)
    images, digest, sources = read_sources(config)
    check(len(images) > 1, "pretraining.sources", f"{len(images)} image", "at least two images, one to hold out")
    train, held_out = split_images(images, config)
    training = Pretraining(train, config)
    fixed = {name: value for name, value in config.model_dump().items() if name not in _UNFIXED}
    checkpoint = Checkpoint({"code": code_digest(), "images": digest, **fixed})
    checkpoint.load(training.state)
    while training.state.step < config.steps:
        scalars = training.update()
        on_step(training.state.step, config.steps, scalars)
        if training.state.step % config.checkpoint_every == 0 or training.state.step == config.steps:
            checkpoint.save(training.state, {})
    training.model.half().float()  # the figures are those of the published half precision
    figures = evaluate(training.model, training.loss, held_out, max(config.sizes)) | {
        "images": len(train),
        "held_out": len(held_out),
        "images_digest": digest,
        "perceptual": training.loss.perceptual.name,
        "vigil_version": __version__,
    }
    with new_directory(destination) as directory:
        halved = {key: value.half().contiguous() for key, value in training.model.state_dict().items()}
        save_file(halved, directory / WEIGHTS, {TRAINED_ON: json.dumps(sources)})
        result = {**figures, "sha256": file_sha256(directory / WEIGHTS)}
        settings = {"config": {**fixed, "steps": config.steps}, "step": training.state.step, "figures": figures}
        write_json(directory / CONFIG, {**settings, "sha256": result["sha256"]})
    published = publish_base(Path(destination), name, config, result)
    checkpoint.remove()
    return result | published


def split_images(images: Sequence[Tensor], config: Config) -> tuple[list[Tensor], list[Tensor]]:
    """Training and held-out images, drawn by the seed; at least one of each."""
    held_out = min(max(1, round(config.held_out * len(images))), len(images) - 1)
    order = np.random.default_rng(config.seed).permutation(len(images))
    return [images[index] for index in order[held_out:]], [images[index] for index in order[:held_out]]


class Pretraining:
    """Model, loss, optimiser and crops of a run."""

    def __init__(self, images: Sequence[Tensor], config: Config) -> None:
        """Build an untrained generator for training images [3, height, width], uint8."""
        self.config = config
        self.model = placed(new_generator(config.architecture, config.codebook_size, config.commitment)).train()
        self.loss = VqLoss(self.model.decoder.conv_out.weight, config, config.learning_rate)
        self._optimizer = torch.optim.Adam(self.model.parameters(), config.learning_rate, _ADAM_BETAS)
        self._crops = CropSampler(images, config)
        self._used = torch.zeros(config.codebook_size, dtype=torch.bool, device=device())
        self.state = TrainingState(
            modules={"generator": self.model, "discriminator": self.loss.discriminator},
            optimizers={"generator": self._optimizer, "discriminator": self.loss.optimizer},
            tensors={"used": self._used},
        )

    def update(self) -> dict[str, float]:
        """One step of generator and codebook, and of the discriminator once it takes part; the step's scalars."""
        images = self._crops.draw(self.state.step).to(device())
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_factor(self.state.step, self.config)
        if self.state.step < self.config.autoencoder_steps:
            loss = (decode(self.model, encode(self.model, images)) - images).abs().mean()
            self._minimise(loss)
            scalars = {"reconstruction": float(loss.detach()), "total": float(loss.detach())}
        else:
            scalars = self._vqgan_step(images)
        self.state.step += 1
        return scalars

    def _vqgan_step(self, images: Tensor) -> dict[str, float]:
        """A step on L_vq; each crop's latents stay unquantised by the chance `unquantised`."""
        config, step = self.config, self.state.step
        latents = encode(self.model, images)
        if step == config.autoencoder_steps:
            self._restart(latents)
        quantised, codebook, codes = quantise(self.model, latents)
        self._used[codes] = True
        drawn = torch.rand(len(latents), 1, 1, 1).to(latents.device)
        reconstructed = decode(self.model, torch.where(drawn < config.unquantised, latents, quantised))
        adversarial = step >= config.adversarial_start * config.steps
        terms = self.loss(images, reconstructed, codebook, adversarial=adversarial)
        self._minimise(terms.total)
        scalars = terms.scalars()
        if adversarial:
            scalars["discriminator"] = self.loss.update_discriminator([(images, reconstructed)])
        if (step + 1) % config.restart_every == 0:
            scalars["codes_used"] = float(self._used.sum())
            self._restart(latents)
        return scalars

    def _minimise(self, loss: Tensor) -> None:
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()

    def _restart(self, latents: Tensor) -> None:
        restart_codes(self.model, latents, self._used)
        self._used.zero_()


def learning_rate_factor(step: int, config: Config) -> float:
    """Linear warm-up, a plateau, and linear decay to zero at the last step.

    The plateau does not depend on the number of steps, so that a run may be made longer before its decay starts.
    """
    rise = (step + 1) / config.warmup if config.warmup else 1.0
    fall = (config.steps - step) / (config.decay * config.steps) if config.decay else 1.0
    return min(1.0, rise, fall)


@torch.no_grad()
def evaluate(model: Any, loss: VqLoss, images: Sequence[Tensor], size: int) -> dict[str, float]:
    """Figures of the reconstructions of centre crops, `size` pixels wide, of images [3, height, width], uint8.

    Mean PSNR in dB, mean perceptual distance, number of codes used, and the perplexity of their distribution.
    """
    model.eval()
    ratios, distances, indices = [], [], []
    for batch in torch.split(torch.stack([centre_crop(image, size) for image in images]), _EVALUATION_BATCH):
        crops = batch.to(device())
        quantised, _, codes = quantise(model, encode(model, crops))
        reconstructed = decode(model, quantised)
        ratios.append(psnr(to_image_range(reconstructed), to_image_range(crops)))
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
