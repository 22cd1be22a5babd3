"""The comparison as one self-contained HTML page."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from components.metrics.seeds import Gain
from components.pages.html import figure_html, page_template, plotly_script, write_html
from pipelines.comparing import figures, tables
from pipelines.comparing.lines import Group, LineComparison

_LINES_WITH_FIGURES = 12
_LINES_IN_FIGURE = 40


def write_page(lines: Sequence[LineComparison], path: Path, now: datetime) -> None:
    """Write the page.

    Args:
        lines: in the order of the page; figures are drawn for the first ones only.
        path: file to write, complete or not at all.
        now: when the page was made.
    """
    metric = lines[0].metric if lines else ""
    gained = [line for line in lines if line.groups and any(line.groups[0].gains.values())][:_LINES_IN_FIGURE]
    content = {
        "lines": [_line(line, place < _LINES_WITH_FIGURES) for place, line in enumerate(lines)],
        "with_figures": _LINES_WITH_FIGURES,
        "metric": tables.HEADS.get(metric, metric),
        "script": figure_html(figures.gains_figure(gained), first=True) if gained else plotly_script(),
        "gained": len(gained),
        "now": now,
    }
    html = page_template("pipelines.comparing", "comparison.html.j2").render(**content)
    write_html(path, html)


def _line(line: LineComparison, with_figures: bool) -> dict[str, Any]:
    group = line.groups[0] if line.groups else None
    return {
        "name": line.line,
        "score": line.score,
        "reasons": line.reasons,
        "counts": tables.counts_text(line),
        "last": line.last,
        "champion": tables.champion_text(line),
        "best": tables.best_text(group.best if group else None),
        "best_link": _web_link(group),
        "gains": [f"{name}: {tables.gain_text(gain)}" for name, gain in group.gains.items()] if group else [],
        "groups": [_group(one, line.metric, with_figures and one is group) for one in line.groups],
        "history": figure_html(figures.history_figure(line)) if with_figures and _measured(line) > 1 else "",
    }


def _group(group: Group, metric: str, with_figures: bool) -> dict[str, Any]:
    return {
        "conditions": tables.conditions_text(group),
        "seeds": tables.seeds_text(group),
        "newest": group.newest,
        "heads": [tables.HEADS[name] for name in group.measures],
        "rows": list(_rows(group)),
        "gains": [
            {
                "detector": detector,
                "shown": _shown(gain),
                "text": tables.gain_text(gain),
                "differences": tables.differences_text(gain),
                "statement": gain.statement,
            }
            for detector, gain in group.gains.items()
            if gain is not None
        ],
        "best": tables.best_text(group.best),
        "best_link": _web_link(group),
        "figures": {
            name: figure_html(figures.seeds_figure(group, name, metric)) for name in group.gains if with_figures
        },
    }


def _shown(gain: Gain) -> str:
    """`up` or `down` where the interval excludes 0, else empty."""
    low, high = gain.interval or (0.0, 0.0)
    return "up" if low > 0 else "down" if high < 0 else ""


def _rows(group: Group) -> Iterator[dict[str, Any]]:
    best = group.best
    for trial in group.trials:
        is_best = best is not None and (best.detector, best.training_set) == (trial.detector, trial.training_set)
        yield {"cells": tables.trial_cells(trial, group.measures), "best": is_best}


def _web_link(group: Group | None) -> str:
    """Address of the best run where it is one of the web: no other scheme becomes a link."""
    link = group.best.run.link if group and group.best else ""
    return link if link.startswith(("http://", "https://")) else ""


def _measured(line: LineComparison) -> int:
    return sum(group.runs for group in line.groups)
