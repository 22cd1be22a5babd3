"""The page of an experiment: the paper's table or figure, made again with the user's data."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.metrics.records import EXTRA_HEADS, KIND_METRICS, METRIC_HEADS, PIXEL_METRICS, PROXY_HEADS
from components.metrics.seeds import Spread
from components.pages.html import figure_html, page_template, write_html
from components.tabulation import figures, statistics
from components.tabulation.descriptions import DESCRIPTIONS, OURS
from components.tabulation.gather import BANK, CHOSEN, COMPARED_PROMPTS, IMAGES, PROMPT_MEASURES
from components.tabulation.statistics import ALL_CLASSES, Line

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

HEADS = METRIC_HEADS | EXTRA_HEADS | {BANK: "patches in the memory bank"}
"""Measures of detectors, in the order of the page."""
CHOICE_HEADS = {
    "regret": "Regret of each way to choose: the best test figure minus its own",
    "rank_correlation": "Rank correlation of proxy and test AUROC",
    **PROXY_HEADS,
    "false_alarm_rate": "false alarms on the test split",
    "promised_false_alarm_rate": "false alarms to expect by the threshold",
}
"""Measures of a choice without test defects."""
LEAST_SEEDS = 5
"""Seeds that a table should have: an interval over three is 4.3 standard errors wide to each side."""
_OPEN = (*CHOICE_HEADS, "image_auroc", "pixel_auroc", *EXTRA_HEADS)
_GAIN_MEASURES = {
    "embedding_similarity": "similarity to the given images",
    "pixel_std": "variance (standard deviation of a pixel)",
}


def write_page(name: str, results: "pd.DataFrame", settings: dict[str, str], path: Path, now: datetime) -> None:
    """Write the page of an experiment, a key of `DESCRIPTIONS`, from the table of `gather`, complete or not at all."""
    drawn = enumerate(_figures(name, results))
    whole_set = (results["detector"] == "") & (results["item"] == "")
    sets = results[whole_set & ~results["measure"].isin(["picture", IMAGES])]
    pictures = results[results["measure"] == "picture"].drop_duplicates(["class_name", "shots", "method"])
    content = {
        "about": DESCRIPTIONS[name],
        "settings": settings,
        "figures": [(title, figure_html(found, first=not index)) for index, (title, found) in drawn],
        "statements": [*(_choices(results) if name == "proxy" else _statements(results))],
        "comparisons": [*_comparisons(results)],
        "few_seeds": len(set(results["seed"])) < LEAST_SEEDS and LEAST_SEEDS,
        "tables": _tables(results, HEADS | (CHOICE_HEADS if name == "proxy" else {})),
        "quality": _tables(results, {str(measure): measure.replace("_", " ") for measure in sets["measure"]}),
        "missing": statistics.missing(results),
        "pictures": [
            (f"{row.class_name}, {shots_text(int(str(row.shots)))}, seed {row.seed}: {row.method}", str(row.picture))
            for row in pictures.itertuples()
        ],
        "prompts": list(_prompts(results)),
        "seeds": sorted(set(results["seed"])),
        "now": now,
    }
    write_html(path, page_template("components.tabulation", "experiment.html.j2").render(**content))


def _figures(name: str, results: "pd.DataFrame") -> "Iterator[tuple[str, Figure]]":
    """Title and figure: what the paper draws first, then the detectors' figures."""
    trend = results[(results["measure"] == "cosine") & (results["note"] == "")]
    prompts = results[results["measure"].isin(PROMPT_MEASURES) & (results["note"] != "")]
    for found, own in trend.groupby("class_name", sort=False):
        yield f"{found}: similarity over iterations", figures.trend(own)
    for (class_name, seed), own in prompts.groupby(["class_name", "seed"], sort=False):
        yield f"{class_name}, seed {seed}: candidate prompts", figures.prompt_similarities(own)
    for measure, title in _GAIN_MEASURES.items() if name == "fig2" else ():
        yield f"Gain by {title}", figures.scatter(statistics.paired(results, measure), title)
    for measure in (*KIND_METRICS, *PIXEL_METRICS) if name == "fig7" else ("image_auroc",):
        lines = statistics.lines(results, measure)
        for detector in dict.fromkeys(line.detector for line in lines):
            curves = [line for line in lines if line.detector == detector]
            counts = list(dict.fromkeys(line.shots for line in curves))
            if len(counts) > 1:
                yield f"{detector}: {HEADS[measure]} by given images", figures.by_shots(curves, HEADS[measure])
            for shots in counts:
                bars = [line for line in curves if line.shots == shots]
                given = f"{detector}, {shots_text(shots)}"
                yield f"{given}: {HEADS[measure]}", figures.bars(bars, HEADS[measure], _columns(lines))
                if name == "fig5" and len(best := statistics.best_classes(bars, OURS)) < len(bars[0].cells) - 1:
                    yield f"{given}: the classes that gain most", figures.bars(bars, HEADS[measure], best)


def _tables(results: "pd.DataFrame", heads: Mapping[str, str]) -> list[dict[str, Any]]:
    """A table for each measure that has values, under its head."""
    tables = []
    for measure, head in heads.items():
        lines = statistics.lines(results, measure)
        columns = _columns(lines)
        rows = [
            {"names": [line.detector, shots_text(line.shots), line.label], "ours": line.method == OURS,
             "cells": [spread_text(line.cells.get(name), 0 if measure == BANK else 3) for name in columns]}
            for line in lines
        ]  # fmt: skip
        if rows:
            tables.append({"open": measure in _OPEN, "head": head, "columns": columns, "rows": rows})
    return tables


def _comparisons(results: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    """Texts of the paired differences from no added images, a row for each method."""
    for found in statistics.comparisons(results):
        yield {
            "names": [found.detector, shots_text(found.shots), found.method],
            "ours": found.method == OURS,
            "cells": [
                f"{found.mean:+.3f}",
                f"{interval_text(found.by_seed.interval)}, {len(found.by_seed.differences)}",
                f"{interval_text(found.by_class)}, {found.classes}",
                f"{found.wins} of {found.pairs}",
                "-" if found.p is None else f"{found.p:.3f}",
                "-" if found.recovery is None else f"{found.recovery:.0%}",
            ],
        }


def interval_text(interval: tuple[float, float] | None) -> str:
    """Both ends with their signs."""
    return "-" if interval is None else f"{interval[0]:+.3f} to {interval[1]:+.3f}"


def _columns(lines: Sequence[Line]) -> list[str]:
    """The classes, and their mean where there are several."""
    classes = list(dict.fromkeys(name for line in lines for name in line.cells if name != ALL_CLASSES))
    return [*classes, ALL_CLASSES] if len(classes) > 1 else classes


def _statements(results: "pd.DataFrame") -> Iterator[str]:
    """Gain of the generated set over the best baseline, and over no added images, each with what may be said of it."""
    over_none = statistics.gains(results, OURS, against=("none",))
    for key, over_best in statistics.gains(results, OURS).items():
        detector, shots, class_name = key
        name = "mean over the classes" if class_name == ALL_CLASSES else class_name
        shown = [(over_best, "the best baseline")]
        if over_best.baseline != "none" and key in over_none:
            shown.append((over_none[key], "no added images"))
        for gain, what in shown:
            yield (
                f"{name}, {detector}, {shots_text(shots)}: generated images {gain.mean:+.3f} image AUROC against "
                f"{gain.baseline}, {what}; {gain.statement}."
            )


def _choices(results: "pd.DataFrame") -> Iterator[str]:
    """What choosing by the proxy costs, by detector and number of given images, and how far it ranks as the test."""
    for (detector, shots), own in results[results["method"] == CHOSEN].groupby(["detector", "shots"], sort=False):
        given = f"{detector}, {shots_text(int(str(shots)))}"
        regrets = own[own["measure"] == "regret"].dropna(subset=["value"])
        if regrets.empty:
            yield f"{given}: no proxy, so nothing is chosen by it."
            continue
        worst = regrets.iloc[int(regrets["value"].argmax())]
        chosen = own.loc[own["measure"] == "chosen", "item"].value_counts()
        ranks = own.loc[own["measure"] == "rank_correlation", "value"].dropna()
        correlation = f"{ranks.mean():.2f}" if len(ranks) else "not defined"
        yield (
            f"{given}: the proxy's choice is {100 * regrets['value'].mean():.1f} points of image AUROC below the best "
            f"in the mean of {len(regrets)}, {100 * worst['value']:.1f} at worst ({worst['class_name']}, seed "
            f"{worst['seed']}); rank correlation of proxy and test {correlation} in the mean of {len(ranks)}; chosen: "
            f"{', '.join(f'{name} {count}' for name, count in chosen.items())}."
        )


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


def spread_text(found: Spread | None, digits: int = 3) -> str:
    """Mean, and the standard deviation where there are several seeds."""
    if found is None:
        return "-"
    mean = f"{found.mean:.{digits}f}"
    return mean if found.sd is None else f"{mean} ± {found.sd:.{digits}f}"
