"""Scores of images that the scoring detector was not trained on: good ones, and synthetic defects on them.

The good images are the calibration images where there are any. Else the given images are left out in turn: each is
scored by a detector that was trained without it, without its rotations, repetitions and augmentations, and without the
images generated around it. The fold's detector scores the synthetic defects on them, too. One given image alone leaves
nothing to train on.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from components.artifacts import VALIDATION, VALIDATION_MAPS, ImageSet, write_table
from components.detection.training_sets import Sources, load_training_set
from components.detectors.config import NO_THRESHOLD, Config
from components.detectors.detector import fit, predict
from components.metrics.held_out import folds
from components.metrics.validation import HELD_OUT_COLUMNS

CALIBRATION, CROSS_VALIDATION, LEAVE_ONE_OUT, NONE = "calibration", "cross-validation", "leave-one-out", "none"
_BATCH = 16
_MAPS_OF_A_FAMILY = 4
_NOTES = {
    CALIBRATION: "The detector was trained without the {count} calibration images.",
    LEAVE_ONE_OUT: "Each of the {count} given images was scored by a detector trained on the others.",
    CROSS_VALIDATION: "Each of the {count} given images was scored by a detector trained without its fold.",
    NONE: "One given image validates nothing: a detector trained without it knows no image. With a second one each is "
    "scored by a detector of the other; 19 calibration images bound the rate of false alarms at 5 %, 99 at 1 %.",
}


@dataclass
class HeldOutScores:
    """Scores of held-out good images and of synthetic defects on them, a row each."""

    method: str
    """How the images were held out: `calibration`, `cross-validation`, `leave-one-out` or `none`."""
    note: str
    """One sentence on it, and for `none` on what more images would give."""
    rows: list[dict[str, Any]] = field(default_factory=list)
    """`id`, `source` (of a synthetic row, the id of its good image), `kind` (`good` or `synthetic`), `family`, `fold`,
    `score`."""
    maps: dict[str, Tensor] = field(default_factory=dict)
    """Anomaly maps [height, width] of the first synthetic rows of each family, by id."""

    @property
    def good_scores(self) -> list[float]:
        """Scores of the held-out good images."""
        return [row["score"] for row in self.rows if row["kind"] == "good"]

    def write(self, directory: Path) -> None:
        """Write the table, and the maps in half precision, into a detector's artifact."""
        import pandas as pd
        from safetensors.torch import save_file

        write_table(directory / VALIDATION, pd.DataFrame(self.rows, columns=[*HELD_OUT_COLUMNS]))
        halves = {id: map.half().contiguous() for id, map in self.maps.items()}
        save_file(halves, directory / VALIDATION_MAPS)


def validate(model: nn.Module, sources: Sources, config: Config) -> HeldOutScores:
    """Held-out scores of a trained detector's calibration images, or of its given images by detectors of folds.

    None are held out where the config asks for no threshold.
    """
    reference = ImageSet(sources.reference)
    calibration, given = reference.ids("calibration", "good"), reference.ids("train", "good")
    if config.threshold == NO_THRESHOLD:
        return HeldOutScores(NONE, "No threshold was asked for, and nothing was held out.")
    method = _method(len(calibration), len(given), config)
    found = HeldOutScores(method, _NOTES[method].format(count=len(calibration or given)))
    if method == NONE:
        return found
    for number, fold in enumerate(folds(given, calibration, config.threshold_folds)):
        detector = model
        if not calibration:
            images = load_training_set(sources, config, without=fold.held_out)
            detector = fit(images, config.for_given(images.given), sources.preprocessing)
        _score_good(found, detector, reference, fold.held_out, number)
        if sources.synthetic is not None:
            _score_synthetic(found, detector, ImageSet(sources.synthetic), fold.held_out, number)
    return found


def _method(calibration: int, given: int, config: Config) -> str:
    if calibration:
        return CALIBRATION
    if given == 1:
        return NONE
    return LEAVE_ONE_OUT if given <= config.threshold_folds else CROSS_VALIDATION


def _score_good(found: HeldOutScores, detector: nn.Module, images: ImageSet, ids: Sequence[str], fold: int) -> None:
    for id, score, _ in _scored(detector, images, ids):
        found.rows.append({"id": id, "source": id, "kind": "good", "family": "", "fold": fold, "score": score})


def _score_synthetic(
    found: HeldOutScores, detector: nn.Module, images: ImageSet, ids: Sequence[str], fold: int
) -> None:
    """Add the synthetic defects on the good images of a fold."""
    own = images.manifest[images.manifest["source"].isin(ids)].set_index("id")
    kept = [row["family"] for row in found.rows if row["id"] in found.maps]
    for id, score, map in _scored(detector, images, [str(id) for id in own.index]):
        family, source = str(own.loc[id, "defect"]), str(own.loc[id, "source"])
        found.rows.append(
            {"id": id, "source": source, "kind": "synthetic", "family": family, "fold": fold, "score": score}
        )
        if kept.count(family) < _MAPS_OF_A_FAMILY:
            kept.append(family)
            found.maps[id] = map


def _scored(detector: nn.Module, images: ImageSet, ids: Sequence[str]) -> Iterator[tuple[str, float, Tensor]]:
    for start in range(0, len(ids), _BATCH):
        few = ids[start : start + _BATCH]
        scores, maps = predict(detector, images.tensor(few))
        yield from zip(few, map(float, scores), maps, strict=True)
