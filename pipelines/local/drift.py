"""Measures the drift of a line on this machine: a folder of new images against a detector's good images."""

import tempfile
from pathlib import Path

from components.artifacts import file_sha256, new_image_set
from components.change.good_images import GoodImages
from components.dataset.config import ALL_SHOTS
from components.dataset.ingest import ingest_dataset
from components.decode import IMAGE_SUFFIXES, decode_image
from components.detectors.table import Detector
from components.drift.config import Config
from components.drift.measure import Measured, measure, measure_against
from components.errors import InputError
from components.registry.history import fetch_detector
from components.storage.s3 import local_folder
from pipelines.lines.line import Line

CHAMPION = "champion"
NO_DETECTOR = "none"
TRAINING = "the run that trained the detector"


def measure_line(line: Line, images: str, detector: str, config: Config) -> Measured:
    """Compare new good images with those that a detector was trained and tested with, or that the data set has now.

    The former are kept with a registered detector. Without a detector, or with one that does not keep them, or keeps
    them by another backbone, the data set is read instead.

    Args:
        line: the production line.
        images: folder or `s3://BUCKET/PREFIX` of the new images.
        detector: `champion` of the line in MLflow, the path of a detector artifact, or `none` to compare looks only.
        config: settings.

    Raises:
        InputError: images, data set or detector are missing or damaged.
        OSError: MLflow or the object store cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        path = _detector(line.name, detector, root)
        known = None if path is None else GoodImages.read(path)
        if path is None or known is None or known.backbone != config.backbone:
            return _against_dataset(line, images, path, root, config)
        write_images(images, root / "images", known.image_size)
        return measure_against(known, root / "images", Detector(path), line.name, config, of=TRAINING)


def _against_dataset(line: Line, images: str, detector: Path | None, root: Path, config: Config) -> Measured:
    dataset = line.configs["dataset"].replace(shots=ALL_SHOTS)
    write_images(images, root / "images", dataset.image_size)
    ingest_dataset(root / "reference", dataset)
    return measure(root / "reference", root / "images", detector, line.name, config)


def write_images(uri: str, target: Path, size: int) -> None:
    """Write the images of a folder, without its subfolders, as an image set of good images.

    Raises:
        InputError: there are none, or one is damaged.
    """
    with local_folder(uri, "images") as folder, new_image_set(target) as (writer, _):
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
        if not files:
            raise InputError(f"images: none in {uri}, expected {' '.join(sorted(IMAGE_SUFFIXES))}")
        for index, path in enumerate(files):
            pixels, _ = decode_image(path, size, f"image {path.name}")
            writer.add(pixels, id=f"new-{index:05d}", source=path.name, sha256=file_sha256(path))


def _detector(line: str, detector: str, root: Path) -> Path | None:
    if detector == NO_DETECTOR:
        return None
    if detector == CHAMPION:
        return fetch_detector(line, CHAMPION, root)
    if not (Path(detector) / "config.json").is_file():
        raise InputError(f"detector: got {detector!r}, expected champion, none, or the folder of a trained detector")
    return Path(detector)
