"""The trained detector as an artifact: build, save, load and predict."""

import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import CONFIG, WEIGHTS, read_json, write_json
from components.compute import device, seed_everything
from components.detectors.config import Config, Threshold
from components.detectors.table import DETECTORS
from components.preprocessing.transform import Preprocessing, kept_preprocessing
from components.weights.fetch import load_tensors, resolve

if TYPE_CHECKING:
    from torch import Tensor, nn

    from components.detectors.batches import Images

_PREDICTION_BATCH = 8
_PREDICTION_PIXELS = 2**17
"""Pixels that pass the network together on a processor: the maps of more take new memory for every layer, and a
backbone two to three times as long."""


def build_detector(config: Config, image_size: int, *, pretrained: bool = True) -> "nn.Module":
    """Untrained detector: a module from images of a side in pixels, in [0, 1], to anomalib's `InferenceBatch`.

    Pretrained weights that are missing or do not fit raise `InputError`; a state that is loaded next needs none.
    """
    model: nn.Module = import_module(DETECTORS[config.detector].module).build(config, image_size, pretrained)
    return model


def fit(images: "Images", config: Config, preprocessing: Preprocessing | None = None) -> "nn.Module":
    """Detector of the config trained, from its seed, on images [n, 3, size, size] in [0, 1].

    With a preprocessing, these are what it has a network see (`Preprocessing.cut`), and the detector is one of the
    images of the set, [n, 3, height, width].
    """
    import torch

    from components.detectors.placement import network_of, placed

    seed_everything(config.seed)
    if isinstance(images, torch.Tensor):
        images = images.to(device())
    side = images.shape[-1]
    model = placed(build_detector(config, side), config, preprocessing or Preprocessing.untouched(side))
    model = model.to(device()).train()
    import_module(DETECTORS[config.detector].module).train(network_of(model), images, config)
    return model.eval()


def save_detector(
    model: "nn.Module",
    directory: Path,
    config: Config,
    preprocessing: Preprocessing,
    threshold: Threshold,
    facts: Mapping[str, object] | None = None,
) -> None:
    """Write tensors, config, preprocessing and threshold of a trained detector into an artifact directory.

    `facts` are further entries of its config file: how it was validated, and the size of its memory bank.
    """
    from safetensors.torch import save_file

    from components.detectors.placement import network_of

    state = network_of(model).state_dict()
    save_file({key: value.contiguous().cpu() for key, value in state.items()}, directory / WEIGHTS)
    row = DETECTORS[config.detector]
    network = row.network(config)
    backbone = {"name": network.name, "sha256": resolve(network.reference).sha256}
    content = {"config": config.model_dump(), "image_size": preprocessing.image_size, "backbone": backbone}
    content |= {"preprocessing": preprocessing.to_content()}
    content |= {"substitutes": row.substitutes(config), "threshold": asdict(threshold)}
    write_json(directory / CONFIG, {**content, **(facts or {})})


def predict(model: "nn.Module", images: "Tensor") -> "tuple[Tensor, Tensor]":
    """Raw anomaly scores [n] and anomaly maps [n, height, width] of images [n, 3, height, width] in [0, 1].

    Higher is more anomalous; the scale is the detector's own. The model is moved to the device that computes.
    """
    import torch

    from components.detectors.placement import tiles_of

    model.to(device()).eval()
    with torch.inference_mode():
        count = _PREDICTION_BATCH // tiles_of(model)
        if device().type == "cpu":
            count = min(count, _PREDICTION_PIXELS // math.prod(images.shape[-2:]))
        batches = [model(batch.to(device())) for batch in torch.split(images, max(1, count))]
    scores = torch.cat([batch.pred_score.reshape(-1).cpu() for batch in batches])
    maps = torch.cat([batch.anomaly_map.reshape(-1, *images.shape[-2:]).cpu() for batch in batches])
    return scores.float(), maps.float()


class Detector:
    """A trained detector, ready to score images."""

    def __init__(self, path: str | Path) -> None:
        """Load an artifact that `save_detector` wrote."""
        from components.detectors.placement import placed

        content = read_json(Path(path) / CONFIG)
        self.config = Config(**content["config"])
        self.preprocessing = kept_preprocessing(content)
        self.threshold = Threshold(**content["threshold"])
        network = build_detector(self.config, self.preprocessing.image_size, pretrained=False)
        self._model = placed(network, self.config, self.preprocessing)
        network.load_state_dict(load_tensors(Path(path) / WEIGHTS))

    @property
    def input_size(self) -> tuple[int, int]:
        """Width and height of the images that it scores."""
        return self.preprocessing.size

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
