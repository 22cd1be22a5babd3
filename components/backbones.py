"""ImageNet backbones whose weights come inside installed packages."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components import weights
from components.errors import check

if TYPE_CHECKING:
    from torch import nn

BACKBONES = {
    "efficientnet-lite0": "tf_efficientnet_lite0",
    "efficientnet-lite2": "tf_efficientnet_lite2",
}
"""timm architecture of each backbone; the key is also its name in the weights manifest."""

IMAGE_MEAN = (0.5, 0.5, 0.5)
"""Mean of the backbones' input, RGB in [0, 1]."""
IMAGE_STD = (0.5, 0.5, 0.5)
"""Standard deviation of the backbones' input, RGB in [0, 1]."""


def load_classifier(name: str) -> "nn.Module":
    """Image classifier over ImageNet's 1000 classes, in evaluation mode, without gradients.

    Raises:
        InputError: the name is unknown, or the weights do not fit.
    """
    import timm

    check(name in BACKBONES, "backbone", name, f"one of {', '.join(BACKBONES)}")
    module: nn.Module = timm.create_model(BACKBONES[name], pretrained=False)
    stored = weights.load_tensors(weights.fetch(name)).values()
    # The packages store timm's tensors in timm's order, under the names of another implementation.
    weights.load_into(module, dict(zip(module.state_dict(), stored, strict=True)), name)
    return module.eval().requires_grad_(False)


def load_features(name: str, indices: Sequence[int]) -> "nn.Module":
    """Module from images to the feature maps of the given strides: index i has stride 2 ** (i + 1).

    Raises:
        InputError: the name is unknown, or the weights do not fit.
    """
    import timm

    check(name in BACKBONES, "backbone", name, f"one of {', '.join(BACKBONES)}")
    module: nn.Module = timm.create_model(BACKBONES[name], pretrained=False, features_only=True, out_indices=indices)
    load_feature_weights(module, name)
    return module.eval().requires_grad_(False)


def load_feature_weights(module: "nn.Module", name: str) -> None:
    """Load a backbone's weights into timm's feature extractor of the same architecture.

    Raises:
        InputError: the name is unknown, or the weights do not fit.
    """
    tensors = load_classifier(name).state_dict()
    weights.load_into(module, {key: tensors[key] for key in module.state_dict()}, name)
