"""The trained detector as an artifact: build, save, load and predict."""

from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import CONFIG, WEIGHTS, read_json, write_json
from components.compute import device, seed_everything
from components.detectors.config import Config, Threshold
from components.detectors.table import DETECTORS
from components.weights.fetch import load_tensors, resolve

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.detectors.batches import Images

_PREDICTION_BATCH = 8


def build_detector(config: Config, image_size: int, *, pretrained: bool = True) -> "nn.Module":
    """Untrained detector: a module from images of a side in pixels, in [0, 1], to anomalib's `InferenceBatch`.

    Pretrained weights that are missing or do not fit raise `InputError`; a state that is loaded next needs none.
    """
    model: nn.Module = import_module(DETECTORS[config.detector].module).build(config, image_size, pretrained)
    return model


def fit(images: "Images", config: Config) -> "nn.Module":
    """Detector of the config trained, from its seed, on images [n, 3, size, size] in [0, 1]."""
    import torch

    seed_everything(config.seed)
    if isinstance(images, torch.Tensor):
        images = images.to(device())
    model = build_detector(config, images.shape[-1]).to(device()).train()
    import_module(DETECTORS[config.detector].module).train(model, images, config)
    return model.eval()


def save_detector(
    model: "nn.Module",
    directory: Path,
    config: Config,
    image_size: int,
    threshold: Threshold,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write the tensors, the config and the threshold of a trained detector into an artifact directory.

    `facts` are further entries of its config file: how it was validated, and the size of its memory bank.
    """
    from safetensors.torch import save_file

    save_file({key: value.contiguous().cpu() for key, value in model.state_dict().items()}, directory / WEIGHTS)
    row = DETECTORS[config.detector]
    network = row.network(config)
    backbone = {"name": network.name, "sha256": resolve(network.reference).sha256}
    content = {"config": config.model_dump(), "image_size": image_size, "backbone": backbone}
    content |= {"substitutes": row.substitutes(config), "threshold": asdict(threshold)}
    write_json(directory / CONFIG, {**content, **(facts or {})})


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
        self._model.load_state_dict(load_tensors(Path(path) / WEIGHTS))

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
