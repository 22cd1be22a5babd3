"""Settings of a detector, and its threshold."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from components.detectors.table import DETECTORS
from components.errors import check
from components.networks.backbones import BACKBONES, RESNETS, VITS
from components.settings import Expected, OneOf, Seed, Settings

TRAINING_SETS = ("none", "rotations", "augmented", "generated")
"""What is added to the given images: nothing, rotations of them, the augmented set, the selected generated set."""

Steps = Annotated[int, Field(ge=1, le=100_000)]


class Config(Settings):
    """Settings of a detector and of what it is trained on."""

    section: ClassVar = "detection"

    detector: str = "patchcore"
    """A detector of the table: patchcore, padim, cflow, reverse_distillation, efficientad, anomalydino or dinomaly."""
    training_set: Annotated[str, OneOf(TRAINING_SETS)] = "none"
    """What is added to the given images: `none`, `rotations`, `augmented` or `generated`."""
    backbone: Annotated[str, OneOf((*BACKBONES, *RESNETS))] = "efficientnet-lite0"
    """ImageNet backbone of all detectors but AnomalyDINO and Dinomaly: `efficientnet-lite0`, `efficientnet-lite2`,
    `resnet18` or `wide-resnet50`."""
    backbone_weights: str = ""
    """Reference to the weights of a residual network, a file of torchvision; empty for the manifest's of its name. The
    other backbones bring theirs."""
    vit: Annotated[str, OneOf(VITS)] = "dinov2-small"
    """Vision transformer of AnomalyDINO and Dinomaly: `dinov2-small`, `dinov2-base`, or these with `-reg4`."""
    vit_weights: str = ""
    """Reference to its weights, a file of DINOv2's authors or of timm; empty for the manifest's of its name."""
    teacher_weights: str = ""
    """Reference to the weights of EfficientAD's teacher (`pretrained_teacher_small.pth`); without, backbone features
    are the teacher, and student and autoencoder are smaller."""
    imagenet_dir: str = ""
    """Images that EfficientAD's student must not learn to describe, ImageNet in the paper: a folder or
    `s3://BUCKET/PREFIX`; without, photographs that scikit-image ships."""
    cflow_steps: Steps = 400
    """Optimiser steps of CFlow, each on 256 features of each scale."""
    distillation_steps: Steps = 300
    """Optimiser steps of Reverse Distillation, each on at most 2 images."""
    efficientad_steps: Steps = 250
    """Optimiser steps of EfficientAD, each on one image."""
    dinomaly_steps: Steps = 100
    """Optimiser steps of Dinomaly, each on at most 2 images."""
    coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the patches that PatchCore keeps."""
    coreset_limit: Annotated[int, Field(ge=10)] = 2500
    """Most patches that PatchCore keeps; bounds its time on many images."""
    num_neighbors: Annotated[int, Field(ge=1, le=50)] = 9
    """Neighbours that reweight PatchCore's image score."""
    rotation_step: Annotated[float, Field(ge=1, le=180), Expected("{} degrees")] = 45.0
    """Degrees between the copies of the training set `rotations`."""
    false_alarm_rate: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    """Share of good images that the threshold may call anomalous; `components/detection/threshold.py` has the rule."""
    threshold_folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Most detectors trained without some of the given images, to score these for the threshold."""
    seed: Seed = 0
    """Seeds the coreset's start, and the training of trained detectors."""

    @property
    def backbone_reference(self) -> str:
        """Reference to the backbone's weights; the manifest has those of every backbone under its name."""
        return self.backbone_weights or self.backbone

    @property
    def vit_reference(self) -> str:
        """Reference to the transformer's weights; the manifest has those of every transformer under its name."""
        return self.vit_weights or self.vit

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`."""
        return tuple(dict.fromkeys([self.backbone_reference, DETECTORS[self.detector].network(self).reference]))

    @field_validator("detector")
    @classmethod
    def _check_detector(cls, detector: str) -> str:
        check(detector in DETECTORS, cls.key("detector"), detector, f"one of {', '.join(DETECTORS)}")
        return detector

    @model_validator(mode="after")
    def _check_backbone(self) -> Self:
        fits = not self.backbone_weights or self.backbone in RESNETS
        expected = f"none: {self.backbone} brings its own"
        check(fits, "detection.backbone_weights", self.backbone_weights, expected)
        return self


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The score above which an image is anomalous, and what it rests on. No test image and no bad image does."""

    value: float
    source: str
    """Good images whose scores it was set by: `calibration` (held out from training), `leave-one-out` or
    `cross-validation` (given images, each scored by a detector trained without it), or `augmented-copies`
    (augmentations of the one given image, which understate how good images differ)."""
    images: int
    rule: str
    """`conformal`, `normal` or `maximum`."""
    false_alarm_rate: float
    expected_rate: float | None
    """Rate to expect of the rule `normal` where good images' scores are normally distributed; None for the others."""
    guaranteed_rate: float | None
    """Rate that holds for any distribution of scores, on average over draws of the calibration images; None for the
    other sources, whose scores are not exchangeable with those of new images."""
