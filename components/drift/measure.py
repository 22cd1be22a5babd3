"""Compares new good images with the good images of a reference, by looks and by a detector's scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.artifacts import DRIFT, ImageSet, new_directory, write_json
from components.detectors import Detector
from components.drift.config import Config
from components.drift.page import drift_html
from components.errors import InputError
from components.retraining import Hint, Scores, retrain_hint
from components.shift import looks_of

if TYPE_CHECKING:
    from torch import Tensor

_HELD_OUT = ("calibration", "test")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Result of a measurement."""

    hint: Hint
    new_scores: list[tuple[str, float]]
    """Source and anomaly score of each new image, the highest first; empty without a detector."""
    html: str
    """Self-contained page."""

    def to_content(self) -> dict[str, Any]:
        """As JSON."""
        scores = [{"image": name, "score": score} for name, score in self.new_scores]
        return {**self.hint.to_content(), "new_scores": scores}

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


def measure(
    reference: str | Path, images: str | Path, detector: str | Path | None, line: str, config: Config
) -> Measured:
    """Compare new good images with those of a reference.

    Args:
        reference: image set. Its good images of every split are compared by looks; the scores of those that no
            detector is trained on, of the splits `calibration` and `test`, are compared with the new ones'.
        images: image set, whose good training images are the new ones; of the size of the reference.
        detector: artifact; None compares looks only.
        line: name of the production line.
        config: settings.

    Raises:
        InputError: there are no new images, or the sizes differ.
    """
    old, fresh = ImageSet(reference), ImageSet(images)
    new_ids = _drawn(fresh.ids("train", "good"), config)
    if not new_ids:
        raise InputError("images: there is none, expected good images of the line")
    _check_size(old, fresh)
    splits = ("train", *_HELD_OUT)
    known = _drawn([id for split in splits for id in old.ids(split, "good")], config)
    new = fresh.tensor(new_ids)
    scores = _scores(old, new, Path(detector), config) if detector is not None else None
    hint = retrain_hint(looks_of(old.tensor(known), config.backbone), looks_of(new, config.backbone), config, scores)
    sources = dict(zip(fresh.manifest["id"], fresh.manifest["source"], strict=True))
    named = [] if scores is None else [(str(sources[id]), float(s)) for id, s in zip(new_ids, scores.new, strict=True)]
    ranked = sorted(named, key=lambda item: -item[1])
    return Measured(hint=hint, new_scores=ranked, html=drift_html(line, hint, scores, ranked))


def write_drift(measured: Measured, drift: str | Path, html: str | Path) -> None:
    """Write the artifact and the page."""
    with new_directory(drift) as directory:
        write_json(directory / DRIFT, measured.to_content())
    Path(html).write_text(measured.html, encoding="utf-8")


def _drawn(ids: Sequence[str], config: Config) -> list[str]:
    """The ids, or as many as are compared, drawn by the seed and in their order."""
    if len(ids) <= config.max_images:
        return list(ids)
    chosen = np.random.default_rng(config.seed).choice(len(ids), config.max_images, replace=False)
    return [ids[index] for index in sorted(chosen)]


def _check_size(old: ImageSet, fresh: ImageSet) -> None:
    expected, got = (int(images.manifest["width"].iloc[0]) for images in (old, fresh))
    if got != expected:
        raise InputError(f"images: got {got} pixels, expected {expected} as in the reference")


def _scores(old: ImageSet, new: "Tensor", path: Path, config: Config) -> Scores | None:
    """None where the reference has no held-out good image."""
    held_out = _drawn([id for split in _HELD_OUT for id in old.ids(split, "good")], config)
    if not held_out:
        return None
    detector = Detector(path)
    if detector.image_size != new.shape[-1]:
        raise InputError(f"detector: takes {detector.image_size} pixels, expected {new.shape[-1]} as in the data set")
    reference, fresh = (detector.predict(images)[0].double().numpy() for images in (old.tensor(held_out), new))
    return Scores(reference=reference, new=fresh, threshold=detector.threshold.value)
