"""Compares new good images with the good images of a reference, by looks and by a detector's scores."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from components.artifacts import CONFIG, DRIFT, ImageSet, file_sha256, new_directory, new_image_set, write_json
from components.change.good_images import GoodImages, drawn, good_images, scores_of
from components.change.rule import Hint, Scores, retrain_hint
from components.change.shift import looks_of
from components.detectors.detector import Detector
from components.drift.config import Config
from components.errors import InputError, check
from components.listing.files import readable
from components.listing.layouts import PLAIN, check_good_alone
from components.listing.opened import opened
from components.pages.html import COLOURS, empty_figure, figure_html, page_template
from components.preprocessing.transform import Preprocessing, preprocessing_of, require_same_geometry
from components.registry import history
from components.registry.promotion import CHAMPION
from components.storage.addresses import address, is_s3
from components.storage.s3 import fetch_prefix

DATA_SET = "the data set"
TRAINING = "the run that trained the detector"
_BINS = 30
_SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Result of a measurement."""

    hint: Hint
    of: str
    """What the reference's images are the good images of."""
    new_scores: list[tuple[str, float]]
    """Source and anomaly score of each new image, the highest first; empty without a detector."""
    html: str

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
    """Compare new good images, a folder or `s3://BUCKET/PREFIX`, with those that a detector keeps from its training.

    Images or a detector that are missing or damaged, or a detector that keeps none of the backbone, raise `InputError`;
    `OSError` means that MLflow or the object store cannot be reached. For the detector see `fetch_detector`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = fetch_detector(line, detector, Path(folder))
        known = GoodImages.read(path)
        if known is None or known.backbone != config.backbone:
            kept = "no good images" if known is None else f"those of {known.backbone}"
            raise InputError(f"detector: {detector} keeps {kept}, expected those of {config.backbone} of its training")
        loaded = Detector(path)
        write_images(images, Path(folder) / "images", loaded.preprocessing)
        return measure_against(known, Path(folder) / "images", loaded, line, config, of=TRAINING)


def fetch_detector(line: str, detector: str, directory: Path) -> Path:
    """Path of a detector artifact: the `champion` of a line in MLflow, a folder, or `s3://BUCKET/PREFIX`.

    It is downloaded to the directory where need be. One that does not exist raises `InputError`; `OSError` means that
    MLflow or the object store cannot be reached.
    """
    if detector == CHAMPION:
        return history.fetch_detector(line, CHAMPION, directory)
    detector = address(detector, "detector")
    path = Path(detector)
    if is_s3(detector):
        path = directory / "detector"
        fetch_prefix(detector, path)
    check((path / CONFIG).is_file(), "detector", detector, "champion, none, or the folder of a trained detector")
    return path


def write_images(uri: str, target: Path, preprocessing: Preprocessing) -> None:
    """Write the images below a folder or prefix as an image set of good images.

    None at all, a damaged one, or a data set with test images raises `InputError`.
    """
    with new_image_set(target) as (writer, _), opened(uri, PLAIN, "images") as folder:
        check_good_alone(folder.listing, uri, "images")
        for index, source in enumerate(folder.listing.sources):
            path = folder.path(source.name)
            pixels = preprocessing.read(path, f"image {folder.shown(source.name)}").pixels
            writer.add(pixels, id=f"new-{index:05d}", source=readable(source.name), sha256=file_sha256(path))


def measure(
    reference: str | Path, images: str | Path, detector: str | Path | None, line: str, config: Config
) -> Measured:
    """Compare new good images with those of an image set as `measure_against` does: looks by those of every split.

    Scores are compared with those of the splits that no detector is trained on, `calibration` and `test`.
    """
    loaded = None if detector is None else Detector(detector)
    old = ImageSet(reference)
    if loaded is not None:
        require_same_geometry(loaded.preprocessing, preprocessing_of(old))
    known = good_images(old, loaded, backbone=config.backbone, max_images=config.max_images, seed=config.seed)
    return measure_against(known, images, loaded, line, config, of=DATA_SET)


def measure_against(
    known: GoodImages, images: str | Path, detector: Detector | None, line: str, config: Config, *, of: str
) -> Measured:
    """Compare new good images, the good training images of an image set, with those known by the config's backbone.

    The detector is the one that has scored the earlier images; without, looks alone are compared. `of` names what they
    are the good images of. Other sizes than theirs, or no new images, raise `InputError`.
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


def drift_html(line: str, hint: Hint, of: str, scores: Scores | None, ranked: Sequence[tuple[str, float]]) -> str:
    """Self-contained page of a `Measured`, with the distributions of the scores; `ranked` are its new scores."""
    shown = ""
    if scores is not None:
        known, new = scores.reference.tolist(), scores.new.tolist()
        low, high = min(known + new), max(known + new)
        bins = {"start": low, "end": high * 1.0001, "size": max(high - low, 1e-9) / _BINS}
        look = {"opacity": 0.65, "xbins": bins, "histnorm": "probability"}
        figure = empty_figure("anomaly score of good images", "share of the images", height=320)
        figure.add_histogram(x=known, name="reference, held out", marker={"color": COLOURS[1]}, **look)
        figure.add_histogram(x=new, name="new", marker={"color": COLOURS[2]}, **look)
        if scores.threshold is not None:
            dashes = {"color": COLOURS[5], "dash": "dash"}
            figure.add_vline(x=scores.threshold, line=dashes, annotation_text="threshold")
        shown = figure_html(figure.update_layout(barmode="overlay"), first=True)
    template = page_template("components.drift", "drift.html.j2")
    return template.render(line=line, hint=hint, of=of, figure=shown, highest=ranked[:_SHOWN])


def write_drift(measured: Measured, drift: str | Path, html: str | Path) -> None:
    """Write the artifact and the page."""
    with new_directory(drift) as directory:
        write_json(directory / DRIFT, measured.to_content())
    Path(html).write_text(measured.html, encoding="utf-8")
