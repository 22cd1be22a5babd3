"""Conversion of public VQGAN weights to one safetensors file, whose header says the architecture."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import CONFIG, WEIGHTS, file_sha256, new_directory, read_json
from components.errors import InputError, check
from components.generator.model import F16, HEADER, vqmodel
from components.generator.taming import is_taming, rename
from components.weights.fetch import load_into, load_tensors

if TYPE_CHECKING:
    from torch import Tensor

_DIFFUSERS_WEIGHTS = "diffusion_pytorch_model.safetensors"


def convert(source: Path, destination: Path) -> dict[str, Any]:
    """Write `model.safetensors` out of a taming-transformers f16 checkpoint or a folder of diffusers' VQModel.

    A checkpoint is taming's `.ckpt` or a safetensors file with its names; a folder has `config.json` and
    `diffusion_pytorch_model.safetensors`. Every tensor is written, or belongs to training only and is named as dropped.
    Returns path and sha256 of the file, number of tensors, codebook size, and the dropped names; `InputError` where the
    source is neither, holds a tensor of unknown name, or lacks one.
    """
    from safetensors.torch import save_file

    architecture, tensors, dropped = _from_folder(source) if source.is_dir() else _from_checkpoint(source)
    model = vqmodel(architecture)
    load_into(model, tensors, str(source))
    with new_directory(destination) as directory:
        contiguous = {key: value.contiguous() for key, value in model.state_dict().items()}
        save_file(contiguous, directory / WEIGHTS, {HEADER: json.dumps(architecture, sort_keys=True)})
    path = destination / WEIGHTS
    facts = {"tensors": len(tensors), "codebook_size": architecture["num_vq_embeddings"], "dropped": list(dropped)}
    return {"path": str(path), "sha256": file_sha256(path), **facts}


def _from_checkpoint(path: Path) -> "tuple[dict[str, Any], dict[str, Tensor], tuple[str, ...]]":
    if not path.is_file():
        raise InputError(f"weights {path}: no such file or folder")
    tensors = load_tensors(path)
    if not is_taming(tensors):
        raise InputError(f"weights {path}: not a VQGAN checkpoint of taming-transformers, by its tensors' names")
    renamed, dropped = rename(tensors)
    codebook = renamed.get("quantize.embedding.weight", ())
    check(len(codebook) > 0, f"weights {path}: quantize.embedding.weight", None, "the codebook")
    return {**F16, "num_vq_embeddings": len(codebook)}, renamed, dropped


def _from_folder(folder: Path) -> "tuple[dict[str, Any], dict[str, Tensor], tuple[str, ...]]":
    for name in (CONFIG, _DIFFUSERS_WEIGHTS):
        if not (folder / name).is_file():
            raise InputError(f"weights {folder}: no {name}, expected a folder of diffusers' VQModel")
    config = read_json(folder / CONFIG)
    kind = config.get("_class_name") if isinstance(config, dict) else None
    check(kind == "VQModel", f"weights {folder}: _class_name", kind, "'VQModel'")
    architecture = {key: value for key, value in config.items() if not key.startswith("_")}
    return architecture, load_tensors(folder / _DIFFUSERS_WEIGHTS), ()
