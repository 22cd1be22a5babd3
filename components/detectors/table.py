"""The table of detectors: one row each, read without importing torch.

A further detector is a module of this folder and a row here; one from outside is an entry point.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from components.detectors.config import Config


class Network(NamedTuple):
    """A pretrained network."""

    name: str
    """As artifacts and reports call it."""
    reference: str
    """To its weights."""


def backbone_of(config: "Config") -> Network:
    """The ImageNet backbone of a config."""
    return Network(config.backbone, config.backbone_reference)


def vit_of(config: "Config") -> Network:
    """The vision transformer of a config."""
    return Network(config.vit, config.vit_reference)


def teacher_of(config: "Config") -> Network:
    """EfficientAD's own teacher where a config refers to one, else the backbone that replaces it."""
    return Network("efficientad-teacher", config.teacher_weights) if config.teacher_weights else backbone_of(config)


def no_substitutes(config: "Config") -> dict[str, str]:
    """Of a detector that has everything its paper has."""
    return {}


def efficientad_substitutes(config: "Config") -> dict[str, str]:
    """Of EfficientAD without the weights of its teacher, or without ImageNet."""
    teacher = {} if config.teacher_weights else {"distilled teacher": f"features of {config.backbone}, smaller student"}
    return teacher | ({} if config.imagenet_dir else {"ImageNet": "photographs of scikit-image"})


@dataclass(frozen=True, kw_only=True)
class DetectorRow:
    """A detector, described without importing torch."""

    module: str
    """Import path of a module with `build(config, image_size, pretrained)`, which returns an untrained `nn.Module` from
    images [n, 3, size, size] in [0, 1] to anomalib's `InferenceBatch`, and `train(model, images, config)`, which trains
    it on images [n, 3, size, size] of its device. All that the trained module needs is in its state dict."""
    network: Callable[["Config"], Network]
    """The pretrained network that the detector rests on."""
    reads: tuple[str, ...]
    """Fields of `Config` that change this detector, beside training set, threshold and seed."""
    substitutes: Callable[["Config"], dict[str, str]] = no_substitutes
    """What replaces a part of the detector's paper that is unavailable without a download, by that part."""


_BACKBONE, _VIT = ("backbone", "backbone_weights"), ("vit", "vit_weights")

DETECTORS: dict[str, DetectorRow] = {
    "patchcore": DetectorRow(
        module="components.detectors.patchcore",
        network=backbone_of,
        reads=(*_BACKBONE, "coreset_ratio", "coreset_limit", "num_neighbors"),
    ),
    "cflow": DetectorRow(module="components.detectors.cflow", network=backbone_of, reads=(*_BACKBONE, "cflow_steps")),
    "reverse_distillation": DetectorRow(
        module="components.detectors.reverse_distillation",
        network=backbone_of,
        reads=(*_BACKBONE, "distillation_steps"),
    ),
    "efficientad": DetectorRow(
        module="components.detectors.efficientad",
        network=teacher_of,
        reads=(*_BACKBONE, "teacher_weights", "imagenet_dir", "efficientad_steps"),
        substitutes=efficientad_substitutes,
    ),
    "padim": DetectorRow(module="components.detectors.padim", network=backbone_of, reads=_BACKBONE),
    "anomalydino": DetectorRow(module="components.detectors.anomalydino", network=vit_of, reads=_VIT),
    "dinomaly": DetectorRow(module="components.detectors.dinomaly", network=vit_of, reads=(*_VIT, "dinomaly_steps")),
}
"""All detectors by name; a package adds its own by an entry point of the group `vigil.detectors`, whose value is a
`DetectorRow` in a module that imports nothing of `components` but this one."""

for _entry in entry_points(group="vigil.detectors"):
    DETECTORS[_entry.name] = _entry.load()
