"""The page of an experiment: the paper's table or figure, made again with the user's data."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.metrics.records import EXTRA_HEADS, KIND_METRICS
from components.metrics.seeds import Gain, Spread
from components.pages.html import figure_html, page_template, write_html
from components.tabulation import figures, statistics
from components.tabulation.descriptions import DESCRIPTIONS, OURS
from components.tabulation.gather import COMPARED_PROMPTS, IMAGES, PROMPT_MEASURES
from components.tabulation.statistics import ALL_CLASSES, Line

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

HEADS = {
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
    "image_ap": "image AP",
    "image_f1_max": "image F1-max",
    **EXTRA_HEADS,
}
"""Measures of detectors, in the order of the page."""
_OPEN = ("image_auroc", "pixel_auroc", *EXTRA_HEADS)
_DIGITS = 3


def write_page(name: str, results: "pd.DataFrame", settings: dict[str, str], path: Path, now: datetime) -> None:
    """Write the page of an experiment.

    Args:
        name: key of `DESCRIPTIONS`.
        results: table of `components.tabulation.gather`.
        settings: what it was run with, by name.
        path: file to write, complete or not at all.
        now: when the page was made.
    """
    drawn = [
        (title, figure_html(found, first=not index)) for index, (title, found) in enumerate(_figures(name, results))
    ]
    content = {
        "name": name,
        "about": DESCRIPTIONS[name],
        "settings": settings,
        "figures": drawn,
        "statements": list(_statements(results)),
        "tables": list(_tables(results)),
        "quality": list(_quality(results)),
        "missing": statistics.missing(results),
        "pictures": list(_pictures(results)),
        "prompts": list(_prompts(results)),
        "seeds": sorted(set(results["seed"])),
        "now": now,
    }
    html = page_template("components.tabulation", "experiment.html.j2").render(**content)
    write_html(path, html)


def _figures(name: str, results: "pd.DataFrame") -> "Iterator[tuple[str, Figure]]":
    """Title and figure: what the paper draws first, then the detectors' figures."""
    trend = results[(results["measure"] == "cosine") & (results["note"] == "")]
    prompts = results[results["measure"].isin(PROMPT_MEASURES) & (results["note"] != "")]
    for found, own in trend.groupby("class_name", sort=False):
        yield f"{found}: similarity over iterations", figures.trend(own)
    for (class_name, seed), own in prompts.groupby(["class_name", "seed"], sort=False):
        yield f"{class_name}, seed {seed}: candidate prompts", figures.prompt_similarities(own)
    if name == "fig2":
        for measure, title in {
            "embedding_similarity": "similarity to the given images",
            "pixel_std": "variance (standard deviation of a pixel)",
        }.items():
            yield f"Gain by {title}", figures.scatter(statistics.paired(results, measure), title)
    for measure in KIND_METRICS if name == "fig7" else ("image_auroc",):
        yield from _detector_figures(results, measure)


def _detector_figures(results: "pd.DataFrame", measure: str) -> "Iterator[tuple[str, Figure]]":
    lines = statistics.lines(results, measure)
    groups = [*_classes(lines), *([ALL_CLASSES] if len(_classes(lines)) > 1 else [])]
    for detector in dict.fromkeys(line.detector for line in lines):
        own = [line for line in lines if line.detector == detector]
        counts = list(dict.fromkeys(line.shots for line in own))
        if len(counts) > 1:
            yield f"{detector}: {HEADS[measure]} by given images", figures.by_shots(own, HEADS[measure])
        for shots in counts:
            title = f"{detector}, {shots_text(shots)}: {HEADS[measure]}"
            yield title, figures.bars([line for line in own if line.shots == shots], HEADS[measure], groups)


def _tables(results: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    for measure, head in HEADS.items():
        lines = statistics.lines(results, measure)
        if lines:
            yield {"open": measure in _OPEN, **_table(head, lines)}


def _table(head: str, lines: Sequence[Line]) -> dict[str, Any]:
    columns = _classes(lines)
    if len(columns) > 1:
        columns = [*columns, ALL_CLASSES]
    rows = [
        {"names": [line.detector, shots_text(line.shots), line.label], "ours": line.method == OURS,
         "cells": [spread_text(line.cells.get(name)) for name in columns]}
        for line in lines
    ]  # fmt: skip
    return {"head": head, "columns": columns, "rows": rows}


def _quality(results: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Measures of image sets, one table each."""
    others = ["picture", IMAGES]
    measures = results[(results["detector"] == "") & (results["item"] == "") & ~results["measure"].isin(others)]
    for measure in dict.fromkeys(measures["measure"]):
        lines = statistics.lines(results, measure)
        if lines:
            yield _table(str(measure).replace("_", " "), lines)


def _statements(results: "pd.DataFrame") -> Iterator[str]:
    """Gain of the generated set over the best baseline, and over no added images, each with what may be said of it."""
    over_none = statistics.gains(results, OURS, against=("none",))
    for key, gain in statistics.gains(results, OURS).items():
        yield _statement(key, gain, ", the best baseline")
        if gain.baseline != "none" and key in over_none:
            yield _statement(key, over_none[key], ", no added images")


def _statement(key: tuple[str, int, str], gain: Gain, what: str) -> str:
    detector, shots, class_name = key
    name = "mean over the classes" if class_name == ALL_CLASSES else class_name
    return (
        f"{name}, {detector}, {shots_text(shots)}: generated images {gain.mean:+.3f} image AUROC against "
        f"{gain.baseline}{what}; {gain.statement}."
    )


def _pictures(results: "pd.DataFrame") -> Iterator[tuple[str, str]]:
    first = results[results["measure"] == "picture"].drop_duplicates(["class_name", "shots", "method"])
    for row in first.itertuples():
        yield f"{row.class_name}, {shots_text(int(str(row.shots)))}, seed {row.seed}: {row.method}", str(row.picture)


def _prompts(results: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Best and worst prompt of each class and seed."""
    chosen = results[(results["measure"] == "cosine") & ~results["note"].isin(["", *COMPARED_PROMPTS.values()])]
    for (class_name, seed), own in chosen.groupby(["class_name", "seed"], sort=False):
        kept = own[~own["note"].str.contains("dropped")]
        best, worst = kept.iloc[int(kept["value"].argmax())], own.iloc[int(own["value"].argmin())]
        yield {"class_name": class_name, "seed": seed, "best": best, "worst": worst, "candidates": len(own)}


def shots_text(shots: int) -> str:
    """`1 shot`, `5 shots` or `all shots`."""
    return f"{shots or 'all'} shot{'' if shots == 1 else 's'}"


def spread_text(found: Spread | None) -> str:
    """Mean, and the standard deviation where there are several seeds."""
    if found is None:
        return "-"
    return f"{found.mean:.{_DIGITS}f}" + (f" ± {found.sd:.{_DIGITS}f}" if found.sd is not None else "")


def _classes(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(name for line in lines for name in line.cells if name != ALL_CLASSES))
