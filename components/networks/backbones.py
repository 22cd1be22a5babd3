"""Backbones: those whose weights come inside installed packages, and those whose weights a user refers to."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.errors import check
from components.weights.fetch import fetch, load_into, load_tensors

if TYPE_CHECKING:
    from torch import nn

BACKBONES = {"efficientnet-lite0": "tf_efficientnet_lite0", "efficientnet-lite2": "tf_efficientnet_lite2"}
"""timm architecture of each backbone; the key is also its name in the weights manifest."""

RESNETS = {"resnet18": "resnet18", "wide-resnet50": "wide_resnet50_2"}
"""timm architecture of the backbones of the detectors' papers; the key is the manifest's name of torchvision's file."""

VITS = {
    "dinov2-small": "vit_small_patch14_dinov2",
    "dinov2-base": "vit_base_patch14_dinov2",
    "dinov2-small-reg4": "vit_small_patch14_reg4_dinov2",
    "dinov2-base-reg4": "vit_base_patch14_reg4_dinov2",
}
"""timm architecture of the vision transformers; the key is the manifest's name of its authors' file."""

IMAGE_MEAN, IMAGE_STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
"""Mean and standard deviation of the backbones' input, RGB in [0, 1]."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Those of the input of residual networks and vision transformers."""


def architecture_of(name: str) -> str:
    """Architecture, in timm, of a backbone of `BACKBONES` or `RESNETS`."""
    return {**BACKBONES, **RESNETS}[name]


def input_statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of the input of a backbone of `BACKBONES` or `RESNETS`, RGB in [0, 1]."""
    return (IMAGENET_MEAN, IMAGENET_STD) if name in RESNETS else (IMAGE_MEAN, IMAGE_STD)


def load_classifier(name: str) -> "nn.Module":
    """Image classifier over ImageNet's 1000 classes; `InputError` where the name is unknown or weights don't fit."""
    module = _new(name)
    stored = load_tensors(fetch(name)).values()
    # The packages store timm's tensors in timm's order, under the names of another implementation.
    load_into(module, dict(zip(module.state_dict(), stored, strict=True)), name)
    return module.eval().requires_grad_(False)


def load_features(name: str, indices: Sequence[int]) -> "nn.Module":
    """Module from images to the feature maps of the given strides: index i has stride 2 ** (i + 1)."""
    module = _new(name, features_only=True, out_indices=indices)
    load_feature_weights(module, name)
    return module.eval().requires_grad_(False)


def _new(name: str, **settings: Any) -> "nn.Module":
    import timm

    check(name in BACKBONES, "backbone", name, f"one of {', '.join(BACKBONES)}")
    module: nn.Module = timm.create_model(BACKBONES[name], pretrained=False, **settings)
    return module


def load_feature_weights(module: "nn.Module", name: str, reference: str = "") -> None:
    """Load the weights of a backbone of `BACKBONES` or, by reference, `RESNETS` into timm's extractor of that kind."""
    if name in RESNETS:
        # torchvision's older files lack the counters of batches.
        counters = {key: value for key, value in module.state_dict().items() if key.endswith("num_batches_tracked")}
        tensors = counters | load_tensors(fetch(reference))
    else:
        tensors = load_classifier(name).state_dict()
    label = reference.partition("#")[0] or name
    load_into(module, {key: tensors[key] for key in module.state_dict() if key in tensors}, label)
