"""What a detector makes of good images that it did not see, and of synthetic defects drawn on them.

Both are scored, in the detection stage, by detectors that saw neither the good image nor anything made of it. How well
the synthetic defects are told from the good images is a proxy for how well real ones are: it ranks detectors, and its
value says nothing about the real ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import CONFIG, VALIDATION, read_json, read_table

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    Floats = npt.NDArray[np.float64]

MIN_IMAGES = 2
"""Good images that must be held out for a proxy: with one, no other draw of good images can be imagined."""

HELD_OUT_COLUMNS = ("id", "source", "kind", "family", "fold", "score")
"""Columns of the table of held-out scores; `kind` is `good` or `synthetic`, `source` the id of the good image."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Held-out scores of one detector, raw and of any scale, higher is more anomalous."""

    sources: tuple[str, ...]
    """Ids of the good images."""
    good: "Floats"
    """Their scores [n]."""
    origins: tuple[str, ...]
    """Ids of the good images that the synthetic defects were drawn on."""
    families: tuple[str, ...]
    """Kinds of the synthetic defects."""
    synthetic: "Floats"
    """Their scores [m]."""

    @classmethod
    def read(cls, detector: str | Path) -> "Validation | None":
        """The validation of a detector's artifact; None where too few good images were held out, or no defects drawn.

        A detector of a version before has none either.
        """
        path = Path(detector) / VALIDATION
        return cls.of(read_table(path)) if path.is_file() else None

    @classmethod
    def of(cls, table: "pd.DataFrame") -> "Validation | None":
        """The validation of a detector's table of held-out scores; None where `read` has none."""
        good, synthetic = table[table["kind"] == "good"], table[table["kind"] == "synthetic"]
        if len(good) < MIN_IMAGES or synthetic.empty:
            return None
        return cls(
            sources=tuple(good["source"].astype(str)),
            good=good["score"].to_numpy(dtype="float64"),
            origins=tuple(synthetic["source"].astype(str)),
            families=tuple(synthetic["family"].astype(str)),
            synthetic=synthetic["score"].to_numpy(dtype="float64"),
        )

    @property
    def auroc(self) -> float:
        """Image AUROC of all good images against all synthetic defects."""
        return float(self._wins().mean())

    def recall(self, threshold: float) -> float:
        """Share of the synthetic defects over a threshold."""
        return float((self.synthetic > threshold).mean())

    def false_alarm_rate(self, threshold: float) -> float:
        """Share of the good images over a threshold."""
        return float((self.good > threshold).mean())

    def by_family(self, threshold: float) -> list[dict[str, Any]]:
        """Of each family, its number of images, the AUROC of all good images against them, and their recall."""
        import numpy as np

        wins, names, rows = self._wins(), np.array(self.families), []
        for name in dict.fromkeys(self.families):
            own = names == name
            recall = float((self.synthetic[own] > threshold).mean())
            rows.append({"family": name, "images": int(own.sum()), "auroc": float(wins[own].mean()), "recall": recall})
        return rows

    def without_one(self) -> "Floats":
        """AUROC [n] without each good image in turn and the defects drawn on it.

        Without the one image that has defects there is none to compare, and the value is the AUROC of all.
        """
        import numpy as np

        wins, origins = self._wins(), np.array(self.origins)
        values = []
        for index, source in enumerate(self.sources):
            rows = origins != source
            left = np.delete(wins[rows], index, axis=1) if rows.any() else wins
            values.append(float(left.mean()))
        return np.array(values)

    def _wins(self) -> "Floats":
        """Whether each synthetic defect [m] scores higher than each good image [n]; a half for a tie."""
        difference = self.synthetic[:, None] - self.good[None, :]
        return (difference > 0) + 0.5 * (difference == 0)  # type: ignore[no-any-return]


def read_validations(predictions: str | Path) -> dict[str, Validation | None]:
    """Validations of the detectors that an evaluation has measured, by trial; without those that have none."""
    table = read_table(Path(predictions) / VALIDATION)
    trials = table["detector"] + "/" + table["training_set"]
    return {str(trial): Validation.of(own) for trial, own in table.groupby(trials, sort=False)}


def standard_error(values: Sequence[float]) -> float:
    """Jackknife's standard error of a statistic by its values without each of the n >= 2 images (Efron, 1982)."""
    import numpy as np

    deviations = np.asarray(values) - np.mean(values)
    return float(np.sqrt((len(deviations) - 1) / len(deviations) * (deviations**2).sum()))


def difference_error(one: Validation, other: Validation) -> float:
    """Standard error of the difference of two detectors' AUROC, paired by the good images, which are the same."""
    if one.sources != other.sources:
        raise ValueError(f"validation: got images {other.sources}, expected those of the other, {one.sources}")
    return standard_error(list(one.without_one() - other.without_one()))


def proxy_metrics(detector: str | Path) -> dict[str, float]:
    """Fields of a `Record` that a detector's held-out scores give; empty where they are too few."""
    found = Validation.read(detector)
    if found is None:
        return {}
    threshold = read_json(Path(detector) / CONFIG)["threshold"]["value"]
    return {
        "proxy_image_auroc": found.auroc,
        "proxy_standard_error": standard_error(list(found.without_one())),
        "proxy_recall": found.recall(threshold),
        "validation_false_alarm_rate": found.false_alarm_rate(threshold),
        "validation_images": float(len(found.good)),
    }
