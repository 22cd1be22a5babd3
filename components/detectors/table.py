"""The table of detectors, and the trained detector as an artifact: build, save, load and predict.

A further detector is a network in `components/detectors`, a row of `DETECTORS`, and a row of the table of
trainers in `components/detection/trainers.py`.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import CONFIG, WEIGHTS, read_json, write_json
from components.compute import device
from components.detectors.config import Config, Threshold
from components.errors import check
from components.weights import fetch as weights

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.detectors.dino import DinoEncoder
    from components.detectors.encoder import Encoder

    Builder = Callable[[Config, int, bool], nn.Module]

_PREDICTION_BATCH = 8


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
    content = {"config": config.model_dump(), "image_size": image_size, "backbone": backbone}
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
