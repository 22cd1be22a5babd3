"""Means, deviations and gains over seeds of an experiment's table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.comparison import GENERATED
from components.seeds import Gain, Spread, paired_gain, spread
from components.tabulation.gather import IMAGES

if TYPE_CHECKING:
    import pandas as pd

BASELINES = ("none", "rotations", "augmented")
"""Methods that every table of detectors shows, in its order."""
ALL_CLASSES = "mean"
"""Column of the mean over the classes."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of a table: one method, its spread over seeds in each class, and over the classes' means."""

    detector: str
    shots: int
    method: str
    label: str
    """The method, with the number of its images where the table has it."""
    cells: Mapping[str, Spread | None]
    """By class, and `ALL_CLASSES`: of that mean, `sd` is over the seeds that all classes have."""


def lines(results: "pd.DataFrame", measure: str, item: str = "") -> list[Line]:
    """Rows of the table of one measure: the baselines of each detector first, the rest in the order of the cells."""
    chosen = _values(results, measure, item)
    names = ["detector", "shots", "method"]
    images = _values(results, IMAGES)
    found = []
    for detector, shots, method in sorted(chosen[names].drop_duplicates().itertuples(index=False), key=_order):
        own = chosen[(chosen["detector"] == detector) & (chosen["shots"] == shots) & (chosen["method"] == method)]
        classes = {str(name): spread(list(part["value"])) for name, part in own.groupby("class_name", sort=False)}
        cells = {**classes, ALL_CLASSES: _over_classes(own)}
        label = _label(str(method), images[(images["shots"] == shots) & (images["method"] == method)]["value"])
        found.append(Line(detector=str(detector), shots=int(shots), method=str(method), label=label, cells=cells))
    return found


def _label(method: str, images: "pd.Series[float]") -> str:
    """`METHOD, 16 images`; `METHOD, 3 to 7 images` where classes have other numbers."""
    if images.empty:
        return method
    least, most = int(images.min()), int(images.max())
    count = str(most) if least == most else f"{least} to {most}"
    return f"{method}, {count} image{'' if count == '1' else 's'}"


def gains(results: "pd.DataFrame", method: str, measure: str = "image_auroc") -> dict[tuple[str, int, str], Gain]:
    """Gain of a method over the best baseline, paired by seed, by detector, shots and class."""
    chosen = _values(results, measure)
    found = {}
    for (detector, shots, class_name), own in chosen.groupby(["detector", "shots", "class_name"], sort=False):
        by_method = {
            GENERATED if name == method else str(name): dict(zip(part["seed"], part["value"], strict=True))
            for name, part in own.groupby("method", sort=False)
            if name == method or name in BASELINES
        }
        gain = paired_gain(by_method)
        if gain is not None:
            found[str(detector), int(str(shots)), str(class_name)] = gain
    return found


def missing(results: "pd.DataFrame") -> list[tuple[str, str]]:
    """Measures that were not computed, each with its reason, once."""
    empty = results[results["value"].isna() & (results["note"] != "")]
    return list(dict.fromkeys(zip(empty["measure"], empty["note"], strict=True)))


def correlation(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Pearson's r, or None for fewer than three pairs or where one does not vary."""
    import numpy as np

    if len(first) < 3 or np.std(first) == 0 or np.std(second) == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def paired(results: "pd.DataFrame", measure: str) -> "pd.DataFrame":
    """Each generated set's gain in image AUROC over no added images beside a measure of its quality.

    Returns:
        Columns `class_name`, `detector`, `seed`, `method`, `gain`, `value`.
    """
    keys = ["class_name", "shots", "seed", "detector"]
    auroc = _values(results, "image_auroc")
    plain = auroc[auroc["method"] == "none"][[*keys, "value"]].rename(columns={"value": "plain"})
    table = auroc[~auroc["method"].isin(BASELINES)].merge(plain, on=keys)
    table["gain"] = table["value"] - table["plain"]
    quality = _values(results, measure)[["class_name", "shots", "seed", "method", "value"]]
    joined = table.drop(columns=["value", "plain"]).merge(quality, on=["class_name", "shots", "seed", "method"])
    return joined[["class_name", "detector", "seed", "method", "gain", "value"]]


def _order(names: tuple[str, int, str]) -> tuple[str, float, int]:
    detector, shots, method = names
    return detector, shots or math.inf, BASELINES.index(method) if method in BASELINES else len(BASELINES)


def _values(results: "pd.DataFrame", measure: str, item: str = "") -> "pd.DataFrame":
    chosen = results[(results["measure"] == measure) & (results["item"] == item)]
    return chosen.dropna(subset=["value"])


def _over_classes(own: "pd.DataFrame") -> Spread | None:
    """Spread, over the seeds that every class has, of the mean over classes; None where no seed is in all."""
    table: Any = own.pivot_table(index="seed", columns="class_name", values="value").dropna()
    return spread(list(table.mean(axis=1))) if len(table) else None
