"""The table of detectors: one row each, read without importing torch.

A further detector is a module of this folder and a row here; one from outside is an entry point.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import NamedTuple, Protocol


class NetworkSettings(Protocol):
    """What the rows read of a detector's config."""

    backbone: str
    vit: str
    teacher_weights: str
    imagenet_dir: str

    @property
    def backbone_reference(self) -> str:
        """Reference to the backbone's weights."""

    @property
    def vit_reference(self) -> str:
        """Reference to the transformer's weights."""


class Network(NamedTuple):
    """A pretrained network: its name in artifacts and reports, and the reference to its weights."""

    name: str
    reference: str


def backbone_of(config: NetworkSettings) -> Network:
    """The ImageNet backbone of a config."""
    return Network(config.backbone, config.backbone_reference)


def vit_of(config: NetworkSettings) -> Network:
    """The vision transformer of a config."""
    return Network(config.vit, config.vit_reference)


def teacher_of(config: NetworkSettings) -> Network:
    """EfficientAD's own teacher where a config refers to one, else the backbone that replaces it."""
    return Network("efficientad-teacher", config.teacher_weights) if config.teacher_weights else backbone_of(config)


def efficientad_substitutes(config: NetworkSettings) -> dict[str, str]:
    """Of EfficientAD without the weights of its teacher, or without ImageNet."""
    teacher = {} if config.teacher_weights else {"distilled teacher": f"features of {config.backbone}, smaller student"}
    return teacher | ({} if config.imagenet_dir else {"ImageNet": "photographs of scikit-image"})


@dataclass(frozen=True)
class DetectorRow:
    """A detector, described without importing torch."""

    module: str
    """Import path of a module with `build(config, image_size, pretrained)`, which returns an untrained `nn.Module` from
    images [n, 3, size, size] in [0, 1] to anomalib's `InferenceBatch`, and `train(model, images, config)`, which trains
    it on the `Images` of `batches`, of which `images[:]` is the whole tensor [n, 3, size, size]. All that the trained
    module needs is in its state dict."""
    network: Callable[[NetworkSettings], Network]
    """The pretrained network that the detector rests on."""
    reads: tuple[str, ...]
    """Fields of `Config` that change this detector, beside training set, threshold and seed."""
    substitutes: Callable[[NetworkSettings], dict[str, str]] = field(default=lambda _: {})
    """What replaces a part of the detector's paper that is unavailable without a download, by that part."""


_BACKBONE = ("backbone", "backbone_weights", "image_score")
_VIT = ("vit", "vit_weights", "image_score")

DETECTORS: dict[str, DetectorRow] = {
    "patchcore": DetectorRow(
        "components.detectors.patchcore", backbone_of, (*_BACKBONE, "coreset_ratio", "coreset_limit", "num_neighbors")
    ),
    "cflow": DetectorRow("components.detectors.cflow", backbone_of, (*_BACKBONE, "cflow_steps")),
    "reverse_distillation": DetectorRow(
        "components.detectors.reverse_distillation", backbone_of, (*_BACKBONE, "distillation_steps")
    ),
    "efficientad": DetectorRow(
        "components.detectors.efficientad",
        teacher_of,
        (*_BACKBONE, "teacher_weights", "imagenet_dir", "efficientad_steps"),
        efficientad_substitutes,
    ),
    "padim": DetectorRow("components.detectors.padim", backbone_of, _BACKBONE),
    "anomalydino": DetectorRow(
        "components.detectors.anomalydino", vit_of, (*_VIT, "coreset_limit", "foreground_masks")
    ),
    "dinomaly": DetectorRow("components.detectors.dinomaly", vit_of, (*_VIT, "dinomaly_steps")),
    "subspacead": DetectorRow("components.detectors.subspacead", vit_of, (*_VIT, "subspace_variance")),
}
"""All detectors by name; a package adds its own by an entry point of the group `vigil.detectors`, whose value is a
`DetectorRow` in a module that imports nothing of `components` but this one."""

for _entry in entry_points(group="vigil.detectors"):
    DETECTORS[_entry.name] = _entry.load()
