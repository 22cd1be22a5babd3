"""The table of detectors, and the trained detector as an artifact: build, save, load and predict.

A further detector is a network in `components/detectors`, a row of `DETECTORS`, and a row of the table of
trainers in `components/detection/trainers.py`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import CONFIG, WEIGHTS, read_json, write_json
from components.compute import device
from components.errors import check, check_seed
from components.networks.backbones import BACKBONES, RESNETS, VITS
from components.weights import fetch as weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.detectors.dino import DinoEncoder
    from components.detectors.encoder import Encoder

    Builder = Callable[["Config", int, bool], nn.Module]

TRAINING_SETS = ("none", "rotations", "augmented", "generated")
"""What is added to the given images: nothing, rotations of them, the augmented set, the selected generated set."""

_PREDICTION_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a detector and of what it is trained on."""

    detector: str = "patchcore"
    """A key of `DETECTORS`."""
    training_set: str = "none"
    """One of `TRAINING_SETS`."""
    backbone: str = "efficientnet-lite0"
    """ImageNet backbone of all detectors but AnomalyDINO and Dinomaly: `efficientnet-lite0`, `efficientnet-lite2`,
    `resnet18` or `wide-resnet50`."""
    backbone_weights: str = ""
    """Reference to the weights of a residual network, a file of torchvision; empty for the manifest's of its name. The
    other backbones bring theirs."""
    vit: str = "dinov2-small"
    """Vision transformer of AnomalyDINO and Dinomaly: `dinov2-small`, `dinov2-base`, or these with `-reg4`."""
    vit_weights: str = ""
    """Reference to its weights, a file of DINOv2's authors or of timm; empty for the manifest's of its name."""
    teacher_weights: str = ""
    """Reference to the weights of EfficientAD's teacher (`pretrained_teacher_small.pth`); without, backbone features
    are the teacher, and student and autoencoder are smaller."""
    imagenet_dir: str = ""
    """Images that EfficientAD's student must not learn to describe, ImageNet in the paper: a folder or
    `s3://BUCKET/PREFIX`; without, photographs that scikit-image ships."""
    cflow_steps: int = 400
    """Optimiser steps of CFlow, each on 256 features of each scale."""
    distillation_steps: int = 300
    """Optimiser steps of Reverse Distillation, each on at most 2 images."""
    efficientad_steps: int = 250
    """Optimiser steps of EfficientAD, each on one image."""
    dinomaly_steps: int = 100
    """Optimiser steps of Dinomaly, each on at most 2 images."""
    coreset_ratio: float = 0.1
    """Share of the patches that PatchCore keeps."""
    coreset_limit: int = 2500
    """Most patches that PatchCore keeps; bounds its time on many images."""
    num_neighbors: int = 9
    """Neighbours that reweight PatchCore's image score."""
    rotation_step: float = 45.0
    """Degrees between the copies of the training set `rotations`."""
    false_alarm_rate: float = 0.01
    """Share of good images that the threshold may call anomalous; `components/detection/threshold.py` has the rule."""
    threshold_folds: int = 5
    """Most detectors trained without some of the given images, to score these for the threshold."""
    seed: int = 0
    """Seeds the coreset's start, and the training of trained detectors."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(self.detector in DETECTORS, "detectors", self.detector, f"some of {', '.join(DETECTORS)}")
        check(self.training_set in TRAINING_SETS, "training_sets", self.training_set, f"some of {TRAINING_SETS}")
        self._check_networks()
        for name in ("cflow_steps", "distillation_steps", "efficientad_steps", "dinomaly_steps"):
            check(1 <= getattr(self, name) <= 100_000, f"detection.{name}", getattr(self, name), "1 to 100000")
        check(0 < self.coreset_ratio <= 1, "detection.coreset_ratio", self.coreset_ratio, "above 0, at most 1")
        check(self.coreset_limit >= 10, "detection.coreset_limit", self.coreset_limit, "10 or more")
        check(1 <= self.num_neighbors <= 50, "detection.num_neighbors", self.num_neighbors, "1 to 50")
        check(1 <= self.rotation_step <= 180, "detection.rotation_step", self.rotation_step, "1 to 180 degrees")
        check(0 < self.false_alarm_rate <= 0.5, "detection.false_alarm_rate", self.false_alarm_rate, "0 to 0.5")
        check(2 <= self.threshold_folds <= 50, "detection.threshold_folds", self.threshold_folds, "2 to 50")
        check_seed(self.seed)

    def _check_networks(self) -> None:
        known = (*BACKBONES, *RESNETS)
        check(self.backbone in known, "detection.backbone", self.backbone, f"one of {', '.join(known)}")
        fits = not self.backbone_weights or self.backbone in RESNETS
        expected = f"none: {self.backbone} brings its own"
        check(fits, "detection.backbone_weights", self.backbone_weights, expected)
        check(self.vit in VITS, "detection.vit", self.vit, f"one of {', '.join(VITS)}")

    @property
    def backbone_reference(self) -> str:
        """Reference to the backbone's weights; the manifest has those of every backbone under its name."""
        return self.backbone_weights or self.backbone

    @property
    def vit_reference(self) -> str:
        """Reference to the transformer's weights; the manifest has those of every transformer under its name."""
        return self.vit_weights or self.vit


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The score above which an image is anomalous, and what it rests on. No test image and no bad image does."""

    value: float
    """Raw anomaly score."""
    source: str
    """Good images whose scores it was set by: `calibration` (held out from training), `leave-one-out` or
    `cross-validation` (given images, each scored by a detector trained without it), or `augmented-copies`
    (augmentations of the one given image, which understate how good images differ)."""
    images: int
    """Number of these images."""
    rule: str
    """`conformal`, `normal` or `maximum`."""
    false_alarm_rate: float
    """The stated rate."""
    expected_rate: float | None
    """Rate to expect of the rule `normal` where good images' scores are normally distributed; None for the others."""
    guaranteed_rate: float | None
    """Rate that holds for any distribution of scores, on average over draws of the calibration images; None for the
    other sources, whose scores are not exchangeable with those of new images."""


def _patchcore(config: Config, image_size: int, pretrained: bool) -> "nn.Module":
    from components.detectors.patchcore import build_patchcore

    model: nn.Module = build_patchcore(
        config.backbone,
        config.backbone_reference,
        coreset_ratio=config.coreset_ratio,
        num_neighbors=config.num_neighbors,
        pretrained=pretrained,
    )
    return model


def _padim(config: Config, image_size: int, pretrained: bool) -> "nn.Module":
    from components.detectors import padim

    return padim.Padim(_encoder(config, padim.LEVELS, pretrained))


def _cflow(config: Config, image_size: int, pretrained: bool) -> "nn.Module":
    from components.detectors import cflow

    return cflow.Cflow(_encoder(config, cflow.LEVELS, pretrained))


def _reverse_distillation(config: Config, image_size: int, pretrained: bool) -> "nn.Module":
    from components.detectors import reverse_distillation

    encoder = _encoder(config, reverse_distillation.LEVELS, pretrained)
    return reverse_distillation.ReverseDistillation(encoder, config.backbone, image_size)


def _efficientad(config: Config, image_size: int, pretrained: bool) -> "nn.Module":
    from components.detectors import efficientad

    if not config.teacher_weights:
        return efficientad.build_variant(_encoder(config, efficientad.LEVELS, pretrained))
    least = efficientad.PDN_IMAGE_SIZE
    check(image_size >= least, "dataset.image_size", image_size, f"{least} or more for EfficientAD's own networks")
    return efficientad.build_paper(config.teacher_weights, pretrained)


def _anomalydino(config: Config, image_size: int, pretrained: bool) -> "nn.Module":
    from components.detectors import anomalydino

    return anomalydino.AnomalyDino(_vit(config, image_size, anomalydino.BLOCKS, True, pretrained))


def _dinomaly(config: Config, image_size: int, pretrained: bool) -> "nn.Module":
    from components.detectors import dinomaly

    return dinomaly.Dinomaly(_vit(config, image_size, dinomaly.BLOCKS, False, pretrained))


DETECTORS: "dict[str, Builder]" = {
    "patchcore": _patchcore,
    "cflow": _cflow,
    "reverse_distillation": _reverse_distillation,
    "efficientad": _efficientad,
    "padim": _padim,
    "anomalydino": _anomalydino,
    "dinomaly": _dinomaly,
}
"""Builders of untrained detectors, by name: of a config, the images' side, and whether weights are loaded."""

VIT_DETECTORS = ("anomalydino", "dinomaly")
"""Detectors on a vision transformer."""


def build_detector(config: Config, image_size: int, *, pretrained: bool = True) -> "nn.Module":
    """Untrained detector; a module from images in [0, 1] to anomalib's `InferenceBatch` (`components.detectors`).

    Args:
        config: settings.
        image_size: side of the images in pixels.
        pretrained: whether the pretrained weights are loaded; a state that is loaded next holds them.

    Raises:
        InputError: the weights are missing or do not fit.
    """
    return DETECTORS[config.detector](config, image_size, pretrained)


def network_of(config: Config) -> tuple[str, str]:
    """Name of the pretrained network that a detector rests on, and the reference to its weights."""
    if config.detector in VIT_DETECTORS:
        return config.vit, config.vit_reference
    if config.detector == "efficientad" and config.teacher_weights:
        return "efficientad-teacher", config.teacher_weights
    return config.backbone, config.backbone_reference


def substitutes(config: Config) -> dict[str, str]:
    """What stands in for a part of a detector's paper that is not to be had without a download, by that part."""
    if config.detector != "efficientad":
        return {}
    teacher = {} if config.teacher_weights else {"distilled teacher": f"features of {config.backbone}, smaller student"}
    images = {} if config.imagenet_dir else {"ImageNet": "photographs of scikit-image"}
    return teacher | images


def save_detector(model: "nn.Module", directory: Path, config: Config, image_size: int, threshold: Threshold) -> None:
    """Write the tensors, the config and the threshold of a trained detector into an artifact directory."""
    from safetensors.torch import save_file

    save_file({key: value.contiguous().cpu() for key, value in model.state_dict().items()}, directory / WEIGHTS)
    network, reference = network_of(config)
    backbone = {"name": network, "sha256": weights.resolve(reference).sha256}
    content = {"config": asdict(config), "image_size": image_size, "backbone": backbone}
    content |= {"substitutes": substitutes(config), "threshold": asdict(threshold)}
    write_json(directory / CONFIG, content)


def _encoder(config: Config, levels: tuple[int, ...], pretrained: bool) -> "Encoder":
    from components.detectors.encoder import Encoder

    return Encoder(config.backbone, levels, reference=config.backbone_reference, pretrained=pretrained)


def _vit(config: Config, image_size: int, blocks: tuple[int, ...], norm: bool, pretrained: bool) -> "DinoEncoder":
    from components.detectors.dino import DinoEncoder

    return DinoEncoder(config.vit, config.vit_reference, image_size, blocks, norm=norm, pretrained=pretrained)


def predict(model: "nn.Module", images: "Tensor") -> "tuple[Tensor, Tensor]":
    """Raw anomaly scores [n] and anomaly maps [n, height, width] of images [n, 3, height, width] in [0, 1].

    Higher is more anomalous; the scale is the detector's own. The model is moved to the device that computes.
    """
    import torch

    model.to(device()).eval()
    with torch.inference_mode():
        batches = [model(batch.to(device())) for batch in torch.split(images, _PREDICTION_BATCH)]
    scores = torch.cat([batch.pred_score.reshape(-1).cpu() for batch in batches])
    maps = torch.cat([batch.anomaly_map.reshape(-1, *images.shape[-2:]).cpu() for batch in batches])
    return scores.float(), maps.float()


class Detector:
    """A trained detector, ready to score images."""

    def __init__(self, path: str | Path) -> None:
        """Load an artifact that `save_detector` wrote."""
        content = read_json(Path(path) / CONFIG)
        self.config = Config(**content["config"])
        self.image_size: int = content["image_size"]
        self.threshold = Threshold(**content["threshold"])
        self._model = build_detector(self.config, self.image_size, pretrained=False)
        self._model.load_state_dict(weights.load_tensors(Path(path) / WEIGHTS))

    def predict(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """Raw anomaly scores [n] and anomaly maps [n, height, width] of images [n, 3, height, width] in [0, 1]."""
        return predict(self._model, images)

    def scorer(self) -> "nn.Module":
        """Module, on the CPU, from images [n, 3, height, width] in [0, 1] to the tensors of `predict`."""
        from torch import nn

        class Scorer(nn.Module):
            def __init__(self, model: "nn.Module") -> None:
                super().__init__()
                self.model = model

            def forward(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
                found = self.model(images)
                return found.pred_score.reshape(-1), found.anomaly_map.reshape(-1, *images.shape[-2:])

        return Scorer(self._model.cpu().requires_grad_(False))
