"""Settings of a detector, and its threshold."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from components.detectors.scoring import IMAGE_SCORES
from components.detectors.table import DETECTORS
from components.errors import InputError, check
from components.networks.backbones import BACKBONES, RESNETS, VITS
from components.settings import Expected, Fraction, OneOf, Seed, Settings, parts_of

TRAINING_SETS = ("none", "rotations", "augmented", "generated")
"""What is added to the given images: nothing, rotations of them, the augmented set, the selected generated set."""
PARTS = (*TRAINING_SETS, "shifts", "repeated")
"""Parts of a training set: those, shifts of the given images by less than the stride of a backbone's features, and the
given images repeated as often as there are generated ones, a control."""
GOOD_IMAGES, NO_THRESHOLD = "good-images", "none"
"""What a threshold is set by."""

MOST_STEPS = 100_000
Steps = Annotated[int, Field(ge=1, le=MOST_STEPS)]


def training_set_parts(name: str, setting: str = "detection.training_set") -> tuple[str, ...]:
    """Parts of a training set such as `rotations+generated`; `InputError` for an unknown, repeated or needless one."""
    parts = parts_of(name, PARTS)
    needless = "none" in parts and len(parts) > 1
    expected = f"one of {', '.join(PARTS)}, or several but none, each once, joined by +"
    check(bool(parts) and not needless, setting, name, expected)
    return parts


class Config(Settings):
    """Settings of a detector and of what it is trained on."""

    section: ClassVar = "detection"

    detector: str = "patchcore"
    """A detector of the table: patchcore, padim, cflow, reverse_distillation, efficientad, anomalydino, dinomaly or
    subspacead."""
    training_set: str = "none"
    """What is added to the given images: `none`, `rotations`, `augmented`, `generated`, or several of them joined by
    `+`, such as `rotations+generated`; `shifts` adds the given images moved by 0, 2, 4 and 6 pixels in both directions,
    which `shifts+rotations` turns too; `repeated` adds the given images themselves, as often as generated ones."""
    backbone: Annotated[str, OneOf((*BACKBONES, *RESNETS))] = "efficientnet-lite0"
    """ImageNet backbone of all detectors but AnomalyDINO, Dinomaly and SubspaceAD: `efficientnet-lite0`,
    `efficientnet-lite2`, `resnet18` or `wide-resnet50`."""
    backbone_weights: str = ""
    """Reference to the weights of a residual network, a file of torchvision; empty for the manifest's of its name. The
    other backbones bring theirs."""
    vit: Annotated[str, OneOf(VITS)] = "dinov2-small"
    """Vision transformer of AnomalyDINO, Dinomaly and SubspaceAD: `dinov2-small`, `dinov2-base`, or these with
    `-reg4`."""
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
    """Optimiser steps of Reverse Distillation, each on one image, so that all training sets have equal batches."""
    efficientad_steps: Steps = 250
    """Optimiser steps of EfficientAD, each on one image."""
    dinomaly_steps: Steps = 100
    """Optimiser steps of Dinomaly, each on at most 2 images."""
    steps_images: Annotated[int, Field(ge=0, le=1000)] = 5
    """Given images up to which these numbers of steps hold. With more they grow in proportion, the same for every
    training set, to 100000 at most; 0 keeps them for any number."""
    foreground_masks: bool = False
    """Whether AnomalyDINO compares the patches of the object alone, as its paper does for parts before a plain
    background: those where the first principal component of an image's features is high."""
    subspace_variance: Fraction = 0.99
    """Share of the variance of good patches that SubspaceAD's directions explain."""
    coreset_ratio: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the patches that PatchCore keeps. Below 1, as in the paper, training sets with more images get a larger
    memory bank, and with it a better figure than their images are worth."""
    coreset_limit: Annotated[int, Field(ge=10)] = 2500
    """Most patches that PatchCore and AnomalyDINO keep, the same for all training sets; bounds their time."""
    num_neighbors: Annotated[int, Field(ge=1, le=50)] = 9
    """Neighbours that reweight PatchCore's image score."""
    image_score: Annotated[str, OneOf(IMAGE_SCORES)] = "top1"
    """Score of an image by its anomaly map: the mean of the highest 1 % (`top1`), or the highest value (`max`, in the
    papers of all but AnomalyDINO and Dinomaly; PatchCore reweights it)."""
    rotation_step: Annotated[float, Field(ge=1, le=180), Expected("{} degrees")] = 45.0
    """Degrees between the copies of the training set `rotations`."""
    threshold: Annotated[str, OneOf((GOOD_IMAGES, NO_THRESHOLD))] = GOOD_IMAGES
    """`good-images`, or `none` for no threshold and no held-out scores, which spares the training of every fold: for
    experiments, as a line's detector needs its threshold."""
    false_alarm_rate: Annotated[float, Field(gt=0, le=0.5)] = 0.01
    """Share of good images that the threshold may call anomalous; `components/detection/threshold.py` has the rule."""
    threshold_folds: Annotated[int, Field(ge=2, le=50)] = 5
    """Most detectors trained without some of the given images, to score these for the threshold."""
    seed: Seed = 0
    """Seeds the coreset's start, and the training of trained detectors."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts of the training set, in their order."""
        return training_set_parts(self.training_set)

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

    def for_given(self, count: int) -> Self:
        """The config with the optimiser steps that a number of given images takes."""
        factor = count / self.steps_images if self.steps_images else 1.0
        if factor <= 1:
            return self
        names = [name for name in type(self).model_fields if name.endswith("_steps")]
        return self.replace(**{name: min(MOST_STEPS, math.ceil(factor * getattr(self, name))) for name in names})

    @field_validator("detector")
    @classmethod
    def _check_detector(cls, detector: str) -> str:
        check(detector in DETECTORS, cls.key("detector"), detector, f"one of {', '.join(DETECTORS)}")
        return detector

    @field_validator("training_set")
    @classmethod
    def _check_training_set(cls, training_set: str) -> str:
        training_set_parts(training_set)
        return training_set

    @model_validator(mode="after")
    def _check_backbone(self) -> Self:
        fits = not self.backbone_weights or self.backbone in RESNETS
        expected = f"none: {self.backbone} brings its own"
        check(fits, "detection.backbone_weights", self.backbone_weights, expected)
        return self


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """The score above which an image is anomalous, and what it rests on. No test image and no bad image does."""

    value: float | None
    """None where none was asked for."""
    source: str
    """Good images whose scores it was set by: `calibration` (held out from training), `leave-one-out` or
    `cross-validation` (given images, each scored by a detector trained without it and all that was made of it). One
    given image holds nothing out: `own-patches` compares its patches with those elsewhere in it, `turned-copies` scores
    its quarter turns. `none` where there is no threshold."""
    images: int
    rule: str
    """`conformal`, `normal` or `maximum`; `none` where there is no threshold."""
    false_alarm_rate: float
    expected_rate: float | None
    """Rate to expect of the rule `normal` where good images' scores are normally distributed; None for the others."""
    guaranteed_rate: float | None
    """Rate that holds for any distribution of scores, on average over draws of the calibration images; None for the
    other sources, whose scores are not exchangeable with those of new images."""
    lowest_rate: float = 0.0
    highest_rate: float = 1.0
    """The rate of false alarms lies between these two with a confidence of 90 %, whatever the distribution of scores:
    exactly for `calibration`, nearly for the given images held out in turn, and 0 to 1 where nothing was held out."""

    @property
    def promised_rate(self) -> float | None:
        """Rate of false alarms to expect: what the rule guarantees, or so few images let it expect, or it was set for.

        None where there is no threshold, and where nothing was held out, so that any rate is possible.
        """
        if self.value is None or self.highest_rate == 1:
            return None
        known = (self.guaranteed_rate, self.expected_rate, self.false_alarm_rate)
        return next(rate for rate in known if rate is not None)

    @property
    def known(self) -> float:
        """The value; `InputError` where there is none."""
        if self.value is None:
            raise InputError(f"detection.threshold: got {NO_THRESHOLD!r}, expected {GOOD_IMAGES}, to call images")
        return self.value
