"""Means, deviations and gains over seeds of an experiment's table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.metrics.records import GENERATED
from components.metrics.seeds import MIN_PAIRS, Gain, Spread, paired_gain, spread, t_interval
from components.tabulation.gather import FULL, IMAGES

if TYPE_CHECKING:
    import pandas as pd

BASELINES = ("none", "repeated", "rotations", "shifts+rotations", "augmented")
"""Methods without generated images, in the order of a table of detectors; `repeated` is a control, and adds nothing but
the given images once more."""
ALL_CLASSES = "mean"
"""Column of the mean over the classes."""

_LEAST_RANKED = 6
"""Pairs from which on the signed-rank test can fall below 0.05."""
_LEAST_GAP = 0.005
_GROUP = ["class_name", "shots", "seed", "detector"]
_DIGITS = 12


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row of a table: one method, its spread over seeds in each class, and over the classes' means."""

    detector: str
    shots: int
    method: str
    label: str
    """`METHOD, 16 images`, or `METHOD, 3 to 7 images` where classes differ; the method alone where none is known."""
    cells: Mapping[str, Spread | None]
    """By class, and `ALL_CLASSES`: of that mean, `sd` is over the seeds that all classes have."""


def lines(results: "pd.DataFrame", measure: str) -> list[Line]:
    """Rows of the table of one measure: the baselines of each detector first, the rest in the order of the cells."""

    def order(names: tuple[str, int, str]) -> tuple[str, float, int]:
        detector, shots, method = names
        place = BASELINES.index(method) if method in BASELINES else len(BASELINES)
        return detector, shots or math.inf, place + (method == FULL)

    chosen, images = _values(results, measure), _values(results, IMAGES)
    groups = chosen[["detector", "shots", "method"]].drop_duplicates().itertuples(index=False)
    found = []
    for detector, shots, method in sorted(groups, key=order):
        own = chosen[(chosen["detector"] == detector) & (chosen["shots"] == shots) & (chosen["method"] == method)]
        classes = {str(name): spread(list(part["value"])) for name, part in own.groupby("class_name", sort=False)}
        means = list(_means(own)["value"])
        cells = {**classes, ALL_CLASSES: spread(means) if means else None}
        label, counts = str(method), images[(images["shots"] == shots) & (images["method"] == method)]["value"]
        if not counts.empty:
            least, most = int(counts.min()), int(counts.max())
            label += f", {most if least == most else f'{least} to {most}'} image{'' if least == most == 1 else 's'}"
        found.append(Line(detector=str(detector), shots=int(shots), method=str(method), label=label, cells=cells))
    return found


def best_classes(lines: Sequence[Line], method: str, count: int = 5) -> list[str]:
    """Classes in which a method gains most over no added images, the best first, by rows of one detector and shots."""
    cells = {line.method: line.cells for line in lines}
    own, plain = cells.get(method, {}), cells.get("none", {})
    gained = {
        name: found.mean - other.mean
        for name, found in own.items()
        if name != ALL_CLASSES and found and (other := plain.get(name))
    }
    return sorted(gained, key=lambda name: -gained[name])[:count]


def gains(
    results: "pd.DataFrame", method: str, measure: str = "image_auroc", against: Sequence[str] = BASELINES
) -> dict[tuple[str, int, str], Gain]:
    """Gain of a method over the best of some baselines, paired by seed, by detector, shots and class.

    Where there are several classes, `ALL_CLASSES` is one more: the mean over them, for the seeds that all have.
    """
    chosen = _values(results, measure)
    chosen = chosen[chosen["method"].isin([method, *against])]
    found = {}
    for (detector, shots), own in chosen.groupby(["detector", "shots"], sort=False):
        parts = {str(name): part for name, part in own.groupby("class_name", sort=False)}
        if len(parts) > 1:
            parts[ALL_CLASSES] = _means(own)
        for class_name, part in parts.items():
            # The method whose gain is asked for takes the place of the generated set.
            by_seed = {
                GENERATED if name == method else str(name): dict(zip(rows["seed"], rows["value"], strict=True))
                for name, rows in part.groupby("method", sort=False)
            }
            if (gain := paired_gain(by_seed)) is not None:
                found[str(detector), int(str(shots)), class_name] = gain
    return found


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A method against a baseline on the same classes and seeds, higher is better."""

    detector: str
    shots: int
    method: str
    mean: float
    """Mean difference over classes and seeds."""
    by_seed: Gain
    """Differences of the means over the classes, by seed."""
    classes: int
    by_class: tuple[float, float] | None
    """95 % t-interval with the class as the unit, over the means over its seeds; None for fewer than `MIN_PAIRS`."""
    pairs: int
    """Classes times seeds."""
    wins: int
    """Pairs in which the method is higher."""
    p: float | None
    """Wilcoxon's signed-rank test over the pairs, two-sided; None for fewer than `_LEAST_RANKED` that differ."""
    recovery: float | None
    """Mean difference as a share of that of all good images given, over the pairs that have both; None without it, or
    where it is below `_LEAST_GAP`."""


def comparisons(results: "pd.DataFrame", baseline: str = "none", measure: str = "image_auroc") -> list[Comparison]:
    """Paired differences of each method from a baseline, by detector and number of given images.

    Classes count alike, over the seeds that all of them have.
    """
    chosen, found = _values(results, measure), []
    for (detector, shots), own in chosen.groupby(["detector", "shots"], sort=False):
        table = own.pivot_table(index=["class_name", "seed"], columns="method", values="value", sort=False)
        if baseline not in table:
            continue
        differences = table.sub(table[baseline], axis=0).drop(columns=baseline)
        gap = differences.get(FULL)
        for method in differences:
            grid = differences[method].unstack("class_name").dropna(axis=1, how="all").dropna()
            if not grid.empty:
                names = {"detector": str(detector), "shots": int(str(shots)), "method": str(method)}
                found.append(_compared(grid, baseline, None if method == FULL else gap, names))
    return found


def _compared(grid: Any, baseline: str, gap: Any, names: Mapping[str, Any]) -> Comparison:
    """Comparison by differences, a row for each seed and a column for each class; `gap` has those of all images."""
    seeds, classes, pairs = grid.mean(axis=1), list(grid.mean()), grid.to_numpy().ravel()
    differences = tuple((int(seed), float(value)) for seed, value in sorted(seeds.items()))
    interval = t_interval(list(seeds)) if len(seeds) >= MIN_PAIRS else None
    return Comparison(
        **names,
        mean=float(pairs.mean()),
        by_seed=Gain(baseline=baseline, differences=differences, mean=float(pairs.mean()), interval=interval),
        classes=len(classes),
        by_class=t_interval(classes) if len(classes) >= MIN_PAIRS else None,
        pairs=len(pairs),
        wins=int((pairs > 0).sum()),
        p=_wilcoxon(pairs),
        recovery=None if gap is None else _recovery(grid, gap),
    )


def _wilcoxon(pairs: Any) -> float | None:
    from scipy.stats import wilcoxon

    different = pairs[pairs.round(_DIGITS) != 0]
    return float(wilcoxon(different).pvalue) if len(different) >= _LEAST_RANKED else None


def _recovery(grid: Any, gap: Any) -> float | None:
    both = grid.stack().rename("own").to_frame().join(gap.rename("gap"), on=["class_name", "seed"]).dropna()
    whole = float(both["gap"].mean()) if len(both) else 0.0
    return float(both["own"].mean()) / whole if whole >= _LEAST_GAP else None


def _means(own: "pd.DataFrame") -> "pd.DataFrame":
    """Mean over the classes of each method and seed that all of them have."""
    table: Any = own.pivot_table(index=["method", "seed"], columns="class_name", values="value", sort=False).dropna()
    return table.mean(axis=1).rename("value").reset_index()  # type: ignore[no-any-return]


def missing(results: "pd.DataFrame") -> list[tuple[str, str]]:
    """Measures that were not computed, each with its reason, once."""
    empty = results[results["value"].isna() & (results["note"] != "")]
    return list(dict.fromkeys(zip(empty["measure"], empty["note"], strict=True)))


def correlation(pairs: "pd.DataFrame") -> float | None:
    """Pearson's r of `value` and `gain`, each less its mean over the sets of one class, shots, seed and detector.

    Without that, classes that are easier and have other values make a correlation of their own, of any sign. Takes rows
    of `paired`; None where fewer than two differences within the groups are left, or one of both does not vary in them.
    """
    import numpy as np

    groups = pairs.groupby(_GROUP)[["value", "gain"]]
    # Rounding leaves of a group of equal values what is no zero, and would correlate with anything.
    centred = (pairs[["value", "gain"]] - groups.transform("mean")).round(_DIGITS)
    if len(pairs) - groups.ngroups < 2 or (centred.std() == 0).any():
        return None
    return float(np.corrcoef(centred["value"], centred["gain"])[0, 1])


def paired(results: "pd.DataFrame", measure: str) -> "pd.DataFrame":
    """Gain of each generated set in image AUROC over no added images, and a measure of its quality (`value`)."""
    auroc = _values(results, "image_auroc")
    plain, generated = auroc[auroc["method"] == "none"], auroc[~auroc["method"].isin(BASELINES)]
    table = generated.merge(plain, on=_GROUP, suffixes=("", "_plain"))
    table["gain"] = table.pop("value") - table["value_plain"]
    quality = _values(results, measure)[["class_name", "shots", "seed", "method", "value"]]
    return table.merge(quality, on=["class_name", "shots", "seed", "method"])[[*_GROUP, "method", "gain", "value"]]


def _values(results: "pd.DataFrame", measure: str) -> "pd.DataFrame":
    return results[(results["measure"] == measure) & (results["item"] == "")].dropna(subset=["value"])
