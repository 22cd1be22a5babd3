"""The table of detectors, and the trained detector as an artifact: build, save, load and predict.

A further detector is a function from `Config` to an anomalib module, and a row of `DETECTORS`.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import weights
from components.artifacts import CONFIG, WEIGHTS, read_json, write_json
from components.backbones import BACKBONES, IMAGE_MEAN, IMAGE_STD, load_feature_weights
from components.compute import device
from components.errors import check, check_seed

if TYPE_CHECKING:
    from anomalib.models import AnomalibModule
    from torch import Tensor

TRAINING_SETS = ("none", "rotations", "augmented", "generated")
"""What is added to the given images: nothing, rotations of them, the augmented set, the selected generated set."""

_PATCHCORE_FEATURES = (2, 3)
_PREDICTION_BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of a detector and of what it is trained on."""

    detector: str = "patchcore"
    """A key of `DETECTORS`."""
    training_set: str = "none"
    """One of `TRAINING_SETS`."""
    backbone: str = "efficientnet-lite0"
    """ImageNet backbone whose features of stride 8 and 16 are used."""
    coreset_ratio: float = 0.1
    """Share of the patches that PatchCore keeps."""
    coreset_limit: int = 2500
    """Most patches that PatchCore keeps; bounds its time on many images."""
    num_neighbors: int = 9
    """Neighbours that reweight PatchCore's image score."""
    rotation_step: float = 45.0
    """Degrees between the copies of the training set `rotations`."""
    seed: int = 0
    """Seeds the coreset's start, and the training of trained detectors."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(self.detector in DETECTORS, "detectors", self.detector, f"some of {', '.join(DETECTORS)}")
        check(self.training_set in TRAINING_SETS, "training_sets", self.training_set, f"some of {TRAINING_SETS}")
        check(self.backbone in BACKBONES, "detection.backbone", self.backbone, f"one of {', '.join(BACKBONES)}")
        check(0 < self.coreset_ratio <= 1, "detection.coreset_ratio", self.coreset_ratio, "above 0, at most 1")
        check(self.coreset_limit >= 10, "detection.coreset_limit", self.coreset_limit, "10 or more")
        check(1 <= self.num_neighbors <= 50, "detection.num_neighbors", self.num_neighbors, "1 to 50")
        check(1 <= self.rotation_step <= 180, "detection.rotation_step", self.rotation_step, "1 to 180 degrees")
        check_seed(self.seed)


def _patchcore(config: Config) -> "AnomalibModule":
    """PatchCore (Roth et al., 2022)."""
    from anomalib.models import Patchcore

    model = Patchcore(
        backbone=BACKBONES[config.backbone],
        layers=_PATCHCORE_FEATURES,
        pre_trained=False,
        coreset_sampling_ratio=config.coreset_ratio,
        num_neighbors=config.num_neighbors,
        pre_processor=_normalisation(),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    load_feature_weights(model.model.feature_extractor.feature_extractor, config.backbone)
    return model


DETECTORS: "dict[str, Callable[[Config], AnomalibModule]]" = {"patchcore": _patchcore}
"""Builders of untrained detectors, by name."""


def build_detector(config: Config) -> "AnomalibModule":
    """Untrained anomalib module with its backbone's weights; it takes images in [0, 1].

    Raises:
        InputError: the backbone's weights are missing.
    """
    return DETECTORS[config.detector](config)


def save_detector(model: "AnomalibModule", directory: Path, config: Config, image_size: int) -> None:
    """Write the tensors and the config of a trained detector into an artifact directory."""
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, directory / WEIGHTS)
    backbone = {"name": config.backbone, "sha256": weights.resolve(config.backbone).sha256}
    write_json(directory / CONFIG, {"config": asdict(config), "image_size": image_size, "backbone": backbone})


class Detector:
    """A trained detector, ready to score images."""

    def __init__(self, path: str | Path) -> None:
        """Load an artifact that `save_detector` wrote."""
        content = read_json(Path(path) / CONFIG)
        self.config = Config(**content["config"])
        self.image_size: int = content["image_size"]
        self._model = build_detector(self.config)
        self._model.load_state_dict(weights.load_tensors(Path(path) / WEIGHTS))
        self._model.to(device()).eval()

    def predict(self, images: "Tensor") -> "tuple[Tensor, Tensor]":
        """Raw anomaly scores [n] and anomaly maps [n, height, width] of images [n, 3, height, width] in [0, 1].

        Higher is more anomalous; the scale is the detector's own.
        """
        import torch

        with torch.inference_mode():
            batches = [self._model(batch.to(device())) for batch in torch.split(images, _PREDICTION_BATCH)]
        scores = torch.cat([batch.pred_score.reshape(-1).cpu() for batch in batches])
        maps = torch.cat([batch.anomaly_map.reshape(-1, *images.shape[-2:]).cpu() for batch in batches])
        return scores.float(), maps.float()


def _normalisation() -> Any:
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Normalize

    return PreProcessor(transform=Normalize(list(IMAGE_MEAN), list(IMAGE_STD)))
