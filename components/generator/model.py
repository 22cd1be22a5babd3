"""The VQGAN (Esser et al., 2021) as diffusers' VQModel: build, load and save."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import CONFIG, WEIGHTS, write_json
from components.errors import InputError, check
from components.generator.config import STORED, GeneratorConfig
from components.generator.taming import is_taming, rename
from components.weights.fetch import fetch, load_into, load_tensors, resolve

if TYPE_CHECKING:
    from diffusers import VQModel
    from torch import Tensor

_SMALL: dict[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (16, 32, 64, 128),
    "layers_per_block": 1,
    "latent_channels": 64,
    "vq_embed_dim": 64,
    "norm_num_groups": 8,
}
F16: dict[str, Any] = {
    "down_block_types": (*("DownEncoderBlock2D",) * 4, "AttnDownEncoderBlock2D"),
    "up_block_types": ("AttnUpDecoderBlock2D", *("UpDecoderBlock2D",) * 4),
    "block_out_channels": (128, 128, 256, 256, 512),
    "layers_per_block": 2,
    "latent_channels": 256,
    "vq_embed_dim": 256,
}
"""Settings of diffusers' VQModel with the tensors of taming-transformers' vqgan_imagenet_f16."""
BETA = 0.25
"""Weight of the commitment term, as in VQGAN's paper."""
TRAINED_ON = "trained_on"
"""Entry of a base model's header with the sha256 of each image file that it was trained on, as JSON."""
HEADER = "vqmodel"
"""Entry of a safetensors file's header with the settings of diffusers' VQModel, as JSON."""


def build_generator(config: GeneratorConfig, commitment: float = BETA) -> "VQModel":
    """VQGAN as configured, pretrained or not; `InputError` where its weights are missing or do not fit."""
    path = None if config.untrained else fetch(config.reference)
    if path and config.architecture == STORED:
        model = _stored(path, config, commitment)
    else:
        model = new_generator(config.architecture, config.codebook_size, commitment)
    if path:
        tensors = load_tensors(path)
        load_into(model, rename(tensors)[0] if is_taming(tensors) else tensors, config.origin)
    return model


def new_generator(architecture: str, codebook_size: int, commitment: float) -> "VQModel":
    """Untrained VQGAN of the architecture `small` or `f16`, with beta on the commitment term."""
    settings = {"small": _SMALL, "f16": F16}[architecture]
    return vqmodel({**settings, "num_vq_embeddings": codebook_size}, commitment)


def vqmodel(settings: Mapping[str, Any], commitment: float = BETA) -> "VQModel":
    """Untrained VQGAN of any settings of diffusers' VQModel; `InputError` where one is refused."""
    from diffusers import VQModel

    from components.generator.layers import quicken

    norm = settings.get("norm_type", "group")
    check(norm == "group", "VQModel: norm_type", norm, "'group'; sampled latents have no codes")
    try:
        model = VQModel(**settings)
    except (TypeError, ValueError) as error:
        raise InputError(f"VQModel: {error}") from error
    # diffusers' default keeps an old bug that puts beta on the codebook term.
    model.quantize.legacy = False
    model.quantize.beta = commitment
    quicken(model)
    return model


def _stored(path: Path, config: GeneratorConfig, commitment: float) -> "VQModel":
    """Untrained VQGAN of the architecture in the header of a file that `vigil weights convert` wrote."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            settings = (file.metadata() or {}).get(HEADER)
    except SafetensorError as error:
        raise InputError(f"weights {config.origin}: not a safetensors file ({error})") from error
    expected = "the architecture; see vigil weights convert"
    check(settings is not None, f"weights {config.origin}: header", settings, expected)
    model = vqmodel(json.loads(str(settings)), commitment)
    size = int(model.quantize.n_e)
    check(config.codebook_size == size, config.key("codebook_size"), config.codebook_size, f"{size}, as in the weights")
    return model


def save_generator(model: "VQModel", directory: Path, config: GeneratorConfig, step: int) -> None:
    """Write the generator artifact: tensors, and a config with its parent's digest and the step."""
    from safetensors.torch import save_file

    settings = {key: value for key, value in model.config.items() if not key.startswith("_")}
    tensors = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(tensors, directory / WEIGHTS, {HEADER: json.dumps(settings, sort_keys=True)})
    parent = weights_digest(config)
    write_json(directory / CONFIG, {"config": config.model_dump(), "parent_sha256": parent, "step": step})


def trained_on(config: GeneratorConfig, digests: Collection[str]) -> int:
    """How many files, by their sha256, the base model was trained on, as far as the header of its weights says so."""
    from safetensors import SafetensorError, safe_open

    if config.untrained:
        return 0
    try:
        with safe_open(fetch(config.reference), "pt") as file:
            seen = json.loads((file.metadata() or {}).get(TRAINED_ON, "[]"))
    except SafetensorError:
        return 0
    return len(set(seen) & set(digests))


def weights_digest(config: GeneratorConfig) -> str | None:
    """Digest of the weights that a config names, or None where it starts untrained."""
    return None if config.untrained else resolve(config.reference).sha256


def encode(model: "VQModel", images: "Tensor") -> "Tensor":
    """Latents [n, c, h, w], not yet quantised, of images [n, 3, height, width] in [-1, 1]."""
    latents: Tensor = model.encode(images.to(model.device)).latents.float()
    return latents


def quantise(model: "VQModel", latents: "Tensor") -> "tuple[Tensor, Tensor, Tensor]":
    """Quantised latents [n, c, h, w] (Eq. 2), codebook loss, and the codes' indices [n * h * w]."""
    quantised, loss, (_, _, codes) = model.quantize(latents)
    return quantised, loss, codes


def decode(model: "VQModel", latents: "Tensor") -> "Tensor":
    """Images [n, 3, height, width], about [-1, 1], of any latents [n, c, h, w]."""
    samples: Tensor = model.decode(latents, force_not_quantize=True).sample.float()
    return samples


def to_model_range(images: "Tensor") -> "Tensor":
    """[0, 1] to the [-1, 1] of the VQGAN."""
    return images * 2 - 1


def to_image_range(samples: "Tensor") -> "Tensor":
    """The VQGAN's output to [0, 1], clipped."""
    return ((samples + 1) / 2).clamp(0, 1)


def restart_codes(model: "VQModel", latents: "Tensor", used: "Tensor") -> int:
    """Move codebook vectors, in place, to randomly drawn latents [n, dim, height, width], but for `used` [K]; count."""
    import torch

    flat = latents.detach().permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    unused = (~used).nonzero().flatten()
    drawn = torch.randint(len(flat), (len(unused),)).to(flat.device)
    with torch.no_grad():
        model.quantize.embedding.weight[unused] = flat[drawn]
    return len(unused)
