"""Compares new good images with the good images of a reference, by looks and by a detector's scores."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.artifacts import CONFIG, DRIFT, ImageSet, file_sha256, new_directory, new_image_set, write_json
from components.change.good_images import GoodImages, drawn, good_images, scores_of
from components.change.rule import Hint, Scores, retrain_hint
from components.change.shift import looks_of
from components.decode import IMAGE_SUFFIXES, decode_image
from components.detectors.detector import Detector
from components.drift.config import Config
from components.drift.page import drift_html
from components.errors import InputError, check
from components.registry import history
from components.registry.promotion import CHAMPION
from components.storage.s3 import fetch_prefix, is_s3, local_folder

DATA_SET = "the data set"
TRAINING = "the run that trained the detector"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Result of a measurement."""

    hint: Hint
    of: str
    """What the reference's images are the good images of."""
    new_scores: list[tuple[str, float]]
    """Source and anomaly score of each new image, the highest first; empty without a detector."""
    html: str
    """Self-contained page."""

    def to_content(self) -> dict[str, Any]:
        """As JSON."""
        scores = [{"image": name, "score": score} for name, score in self.new_scores]
        return {**asdict(self.hint), "reference": self.of, "new_scores": scores}

    def summary(self) -> dict[str, Any]:
        """Numbers for metrics, and the hint as texts."""
        hint = self.hint
        numbers: dict[str, Any] = {"reference_images": hint.reference_images, "new_images": hint.new_images}
        if hint.embedding is not None:
            numbers |= {"embedding.distance": hint.embedding.distance, "embedding.p_value": hint.embedding.p_value}
        if hint.scores is not None:
            numbers |= {"scores.superiority": hint.scores.superiority, "scores.p_value": hint.scores.p_value}
            rate = hint.scores.false_alarm_rate
            numbers |= {} if rate is None else {"scores.false_alarm_rate": rate}
        for name, shift in hint.statistics.items():
            numbers |= {f"{name}.reference": shift.reference, f"{name}.new": shift.new}
        return {**numbers, "retrain": hint.retrain, "retrain_reasons": "; ".join(hint.reasons)}


def measure_since_training(line: str, images: str, detector: str, config: Config) -> Measured:
    """Compare new good images with those that a detector keeps from its training.

    Args:
        line: name of the production line.
        images: folder or `s3://BUCKET/PREFIX` of the new images.
        detector: see `fetch_detector`.
        config: settings.

    Raises:
        InputError: images or detector are missing or damaged, or the detector keeps no good images of the backbone.
        OSError: MLflow or the object store cannot be reached.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = fetch_detector(line, detector, Path(folder))
        known = GoodImages.read(path)
        if known is None or known.backbone != config.backbone:
            kept = "no good images" if known is None else f"those of {known.backbone}"
            raise InputError(f"detector: {detector} keeps {kept}, expected those of {config.backbone} of its training")
        write_images(images, Path(folder) / "images", known.image_size)
        return measure_against(known, Path(folder) / "images", Detector(path), line, config, of=TRAINING)


def fetch_detector(line: str, detector: str, directory: Path) -> Path:
    """Path of a trained detector's artifact.

    Args:
        line: name of the production line.
        detector: `champion` of the line in MLflow, or the folder or `s3://BUCKET/PREFIX` of a detector artifact.
        directory: where the artifact is downloaded to.

    Raises:
        InputError: there is no such detector.
        OSError: MLflow or the object store cannot be reached.
    """
    if detector == CHAMPION:
        return history.fetch_detector(line, CHAMPION, directory)
    path = Path(detector)
    if is_s3(detector):
        path = directory / "detector"
        fetch_prefix(detector, path)
    check((path / CONFIG).is_file(), "detector", detector, "champion, none, or the folder of a trained detector")
    return path


def write_images(uri: str, target: Path, size: int) -> None:
    """Write the images of a folder or prefix, without its subfolders, as an image set of good images.

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


def measure(
    reference: str | Path, images: str | Path, detector: str | Path | None, line: str, config: Config
) -> Measured:
    """Compare new good images with those of a reference; arguments and errors are those of `measure_against`.

    The reference is an image set. Its good images of every split are compared by looks; the scores of those that no
    detector is trained on, of the splits `calibration` and `test`, are compared with the new ones'.
    """
    loaded = None if detector is None else Detector(detector)
    old = ImageSet(reference)
    known = good_images(old, loaded, backbone=config.backbone, max_images=config.max_images, seed=config.seed)
    return measure_against(known, images, loaded, line, config, of=DATA_SET)


def measure_against(
    known: GoodImages, images: str | Path, detector: Detector | None, line: str, config: Config, *, of: str
) -> Measured:
    """Compare new good images with what is known of earlier ones.

    Args:
        known: earlier ones, by the backbone of the config.
        images: image set, whose good training images are the new ones; of the size of the earlier ones.
        detector: the one that has scored the earlier ones; None compares looks only.
        line: name of the production line.
        config: settings.
        of: what the earlier ones are the good images of.

    Raises:
        InputError: there are no new images, or the sizes differ.
    """
    fresh = ImageSet(images)
    new_ids = drawn(fresh.ids("train", "good"), config.max_images, config.seed)
    if not new_ids:
        raise InputError("images: there is none, expected good images of the line")
    size = int(fresh.manifest["width"].iloc[0])
    if size != known.image_size:
        raise InputError(f"images: got {size} pixels, expected {known.image_size} as in the reference")
    new = fresh.tensor(new_ids)
    scores = None
    if detector is not None and known.scores is not None:
        scores = Scores(reference=known.scores, new=scores_of(detector, new), threshold=detector.threshold.value)
    hint = retrain_hint(known.looks, looks_of(new, config.backbone), config, scores)
    sources = dict(zip(fresh.manifest["id"], fresh.manifest["source"], strict=True))
    named = [] if scores is None else [(str(sources[id]), float(s)) for id, s in zip(new_ids, scores.new, strict=True)]
    ranked = sorted(named, key=lambda item: -item[1])
    return Measured(hint=hint, of=of, new_scores=ranked, html=drift_html(line, hint, of, scores, ranked))


def write_drift(measured: Measured, drift: str | Path, html: str | Path) -> None:
    """Write the artifact and the page."""
    with new_directory(drift) as directory:
        write_json(directory / DRIFT, measured.to_content())
    Path(html).write_text(measured.html, encoding="utf-8")
