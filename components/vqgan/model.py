"""The VQGAN (Esser et al., 2021) as diffusers' VQModel: build, load and save."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import weights
from components.artifacts import CONFIG, WEIGHTS, write_json
from components.vqgan.config import Config

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
# The tensors of taming-transformers' vqgan_imagenet_f16.
_F16: dict[str, Any] = {
    "down_block_types": (*("DownEncoderBlock2D",) * 4, "AttnDownEncoderBlock2D"),
    "up_block_types": ("AttnUpDecoderBlock2D", *("UpDecoderBlock2D",) * 4),
    "block_out_channels": (128, 128, 256, 256, 512),
    "layers_per_block": 2,
    "latent_channels": 256,
    "vq_embed_dim": 256,
}
_ARCHITECTURES = {"small": _SMALL, "f16": _F16}


def build_generator(config: Config) -> "VQModel":
    """VQGAN of the configured architecture, with pretrained weights where the config names some.

    Raises:
        InputError: the weights are missing or do not fit the architecture.
    """
    from diffusers import VQModel

    model = VQModel(num_vq_embeddings=config.codebook_size, **_ARCHITECTURES[config.architecture])
    # diffusers' default keeps an old bug that puts beta on the codebook term.
    model.quantize.legacy = False
    model.quantize.beta = config.commitment
    if config.weights:
        tensors = weights.load_tensors(weights.fetch(config.weights))
        weights.load_into(model, tensors, config.weights.partition("#")[0])
    return model


def save_generator(model: "VQModel", directory: Path, config: Config, step: int) -> None:
    """Write the generator artifact: tensors, and a config with its parent's digest and the step."""
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, directory / WEIGHTS)
    parent = weights.resolve(config.weights).sha256 if config.weights else None
    write_json(directory / CONFIG, {"config": asdict(config), "parent_sha256": parent, "step": step})


def to_model_range(images: "Tensor") -> "Tensor":
    """[0, 1] to the [-1, 1] of the VQGAN."""
    return images * 2 - 1


def to_image_range(samples: "Tensor") -> "Tensor":
    """The VQGAN's output to [0, 1], clipped."""
    return ((samples + 1) / 2).clamp(0, 1)


def restart_codes(model: "VQModel", latents: "Tensor", used: "Tensor") -> int:
    """Move unused codebook vectors to randomly drawn latents, and count them.

    Args:
        model: its codebook is changed in place.
        latents: encoder outputs [n, dim, height, width] to draw from.
        used: [K] booleans, True for a vector that stays.
    """
    import torch

    flat = latents.detach().permute(0, 2, 3, 1).reshape(-1, latents.shape[1])
    unused = (~used).nonzero().flatten()
    drawn = torch.randint(len(flat), (len(unused),), device=flat.device)
    with torch.no_grad():
        model.quantize.embedding.weight[unused] = flat[drawn]
    return len(unused)
