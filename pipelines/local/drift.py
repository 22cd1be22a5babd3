"""Measures the drift of a line on this machine: a folder of new images against a detector's good images."""

import tempfile
from pathlib import Path

from components.artifacts import ImageSet
from components.change.good_images import GoodImages
from components.dataset.config import ALL_SHOTS
from components.dataset.ingest import ingest_dataset
from components.drift.config import Config
from components.drift.measure import Measured, fetch_detector, measure, measure_since_training, write_images
from components.preprocessing.transform import preprocessing_of
from pipelines.lines.line import Line

NO_DETECTOR = "none"


def measure_line(line: Line, images: str, detector: str, config: Config) -> Measured:
    """Compare new good images with those that a detector was trained and tested with, or that the data set has now.

    The former are kept with a registered detector. Without a detector (`none`, which compares looks only), or with one
    that does not keep them, or keeps them by another backbone, the data set is read instead. For the other arguments
    and the errors see `measure_since_training`.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = None if detector == NO_DETECTOR else fetch_detector(line.name, detector, root)
        known = None if path is None else GoodImages.read(path)
        if known is not None and known.backbone == config.backbone:
            return measure_since_training(line.name, images, str(path), config)
        dataset = line.configs["dataset"].replace(shots=ALL_SHOTS)
        ingest_dataset(root / "reference", dataset)
        write_images(images, root / "images", preprocessing_of(ImageSet(root / "reference")))
        return measure(root / "reference", root / "images", path, line.name, config)
