"""VQGAN-CLIP (Crowson et al., 2022): images painted by a text alone, the baseline of the paper's Table 1.

The latents of an image are moved so that the embeddings of its augmented cutouts come near that of the prompt, while
generator and embedder stay as they are. With another embedder than CLIP the method is the same, the images are not.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from components.artifacts import STEPS, ImageSet, new_image_set, prompt_text, to_arrays, write_table
from components.compute import device, seed_everything
from components.errors import InputError
from components.generator.model import build_generator, decode, encode, quantise, to_image_range, to_model_range
from components.networks.embedding import DifferentiableEmbedder, load_embedder
from components.preprocessing.transform import preprocessing_of
from components.stage.progress import OnStep, ignore_progress
from components.vqgan_clip.config import Config

if TYPE_CHECKING:
    from diffusers import VQModel

_NOISE = 0.1
"""Largest standard deviation of the noise on a cutout."""


def generate_from_text(
    reference: str | Path,
    prompts: str | Path,
    selected: str | Path,
    config: Config,
    on_step: OnStep = ignore_progress,
    embedder: DifferentiableEmbedder | None = None,
) -> dict[str, Any]:
    """Write images that a prompt alone has painted, as an image set, with the cosine of every step beside them.

    The good training images of `reference` give the size, and the start where the config says so; `embedder` is the
    config's, where it is loaded already. Returns the prompt, the mean cosine of the images to it, what painted and
    embedded, and the digest of the set. `InputError`: the weights do not fit, or the generator cannot decode that size.
    """
    seed_everything(config.seed)
    images = ImageSet(reference)
    ids = images.ids("train", "good")
    if not ids:
        raise InputError("reference: no good training image in it")
    prompt = prompt_text(prompts, config.prompt, config.object)
    painter = Painter(prompt, embedder or load_embedder(config.embedder, config.embedder_weights), config)
    given = preprocessing_of(images).cut(images.tensor(ids[: config.images]))
    painted, rows = painter.paint(to_model_range(given), on_step)
    with new_image_set(selected) as (writer, directory):
        for index, image in enumerate(to_arrays(painted)):
            writer.add(image, id=f"painted-{index:03d}", source=f"text/{index:03d}")
        write_table(directory / STEPS, rows)
    return {
        "prompt": prompt,
        "cosine": painter.cosine(painted),
        "generator_start": "untrained: it paints noise" if config.untrained else config.origin,
        "embedder": painter.embedder.name,
        "selected_digest": ImageSet(selected).digest,
    }


class Painter:
    """Generator, embedder and prompt."""

    def __init__(self, prompt: str, embedder: DifferentiableEmbedder, config: Config) -> None:
        """Load the generator; `InputError` where its weights are missing or do not fit."""
        self.config = config
        self.embedder = embedder
        self.model: VQModel = build_generator(config).to(device()).eval().requires_grad_(False)
        self._text = self.embedder.embed_texts([prompt])[0].clone().to(device())
        self._codebook: Tensor = self.model.quantize.embedding.weight

    def paint(self, given: Tensor, on_step: OnStep) -> tuple[Tensor, list[Mapping[str, float]]]:
        """All images [images, 3, height, width] in [0, 1], and a row for each step of each batch.

        They take the sizes of the given ones [n, 3, height, width] in [-1, 1], or start from them.
        """
        config = self.config
        starts = torch.split(given[torch.arange(config.images) % len(given)], config.batch_size)
        images, rows = [], list[Mapping[str, float]]()
        for batch, start in enumerate(starts):
            latents = self.initial_latents(start)
            optimizer = self.optimizer(latents)
            for step in range(config.steps):
                scalars = self.step(latents, optimizer)
                rows.append({"batch": float(batch), "step": float(step), **scalars})
                on_step(len(rows), config.steps * len(starts), scalars)
            images.append(self.decode(latents.detach()).cpu())
        return torch.cat(images), rows

    def initial_latents(self, given: Tensor) -> Tensor:
        """Latents [n, c, h, w] to start from, for n images like the given ones [n, 3, height, width] in [-1, 1]."""
        encoded = encode(self.model, given.to(device())).detach()
        if self.config.init == "given":
            return encoded.clone()
        drawn = torch.randint(len(self._codebook), (len(encoded), *encoded.shape[2:]), device=encoded.device)
        return self._codebook[drawn].permute(0, 3, 1, 2).clone()

    def optimizer(self, latents: Tensor) -> torch.optim.Adam:
        """Adam on the latents, which take gradients from now on."""
        size = self.config.learning_rate * float(self._codebook.std())
        return torch.optim.Adam([latents.requires_grad_()], size)

    def step(self, latents: Tensor, optimizer: torch.optim.Adam) -> dict[str, float]:
        """Move the latents, which stay within the codebook's range; loss and mean cosine of the cutouts before."""
        vectors = self.embedder.image_vectors(self._cutouts(self.decode(latents)))
        loss = spherical_distance(vectors, self._text).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        with torch.no_grad():
            low, high = (bound.view(1, -1, 1, 1) for bound in torch.aminmax(self._codebook, dim=0))
            latents.clamp_(low, high)
        return {"loss": float(loss.detach()), "cosine": float((vectors.detach() @ self._text).mean())}

    def decode(self, latents: Tensor) -> Tensor:
        """Images [n, 3, height, width] in [0, 1] of latents, quantised; gradients pass both quantiser and range."""
        samples = decode(self.model, quantise(self.model, latents)[0])
        images = (samples + 1) / 2
        return images + (to_image_range(samples) - images).detach()

    def cosine(self, images: Tensor) -> float:
        """Mean cosine of images [n, 3, height, width] in [0, 1] to the prompt."""
        return float((self.embedder.embed_images(images) @ self._text.cpu()).mean())

    def _cutouts(self, images: Tensor) -> Tensor:
        """Augmented cutouts [cutouts * n, 3, side, side]; each draw is that of all images."""
        side = min(images.shape[2:])
        augment = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                # torchvision applies a fill in place, which no gradient passes; without one, black comes in too.
                v2.RandomAffine(15, (0.1, 0.1), interpolation=v2.InterpolationMode.BILINEAR, fill=None),
                v2.RandomResizedCrop(side, (self.config.cutout_size**2, 1), (1, 1)),
                v2.ColorJitter(brightness=0.1, contrast=0.1, saturation=0.1),
            ]
        )
        cutouts = torch.cat([augment(images) for _ in range(self.config.cutouts)])
        level = _NOISE * torch.rand(len(cutouts), 1, 1, 1, device=cutouts.device)
        return cutouts + level * torch.randn_like(cutouts)


def spherical_distance(vectors: Tensor, target: Tensor) -> Tensor:
    """Half the squared angle [n] between unit vectors [n, dim] and a unit vector [dim], VQGAN-CLIP's loss."""
    angles: Tensor = 2 * ((vectors - target).norm(dim=1) / 2).arcsin()
    return angles.square() / 2
