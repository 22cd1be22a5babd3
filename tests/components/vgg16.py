"""VGG16 with random weights, under torchvision's names, for what needs its architecture and not its knowledge."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from components.artifacts import file_sha256

WIDTHS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512)


def random_vgg16() -> dict[str, Tensor]:
    """VGG16 under torchvision's names, its classifier cut to a stub."""
    torch.manual_seed(0)
    tensors, inputs, position = {}, 3, 0
    for width in WIDTHS:
        if isinstance(width, int):
            scale = (2 / (9 * inputs)) ** 0.5
            tensors[f"features.{position}.weight"] = scale * torch.randn(width, inputs, 3, 3)
            tensors[f"features.{position}.bias"] = 0.1 * torch.randn(width)
            inputs = width
            position += 1
        position += 1
    return tensors | {"classifier.0.weight": torch.ones(2), "classifier.0.bias": torch.ones(2)}


def save_vgg16(tensors: dict[str, Tensor], path: Path) -> str:
    """Reference to the weights, which are written to a safetensors file."""
    save_file(tensors, path)
    return f"{path}#sha256={file_sha256(path)}"
