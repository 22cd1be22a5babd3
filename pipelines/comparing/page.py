"""The comparison as one self-contained HTML page."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.metrics.records import GENERATED
from components.pages.html import COLOURS, empty_figure, figure_html, page_template, plotly_script, write_html
from components.registry.history import FINISHED
from pipelines.comparing import tables
from pipelines.comparing.lines import Group, LineComparison

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_LINES_WITH_FIGURES = 12
_LINES_IN_FIGURE = 40
_ROW_HEIGHT = 26
_POSITIVE, _NEGATIVE = COLOURS[4], COLOURS[5]


def write_page(lines: Sequence[LineComparison], path: Path, now: datetime) -> None:
    """Write the page, complete or not at all; figures are drawn for the first lines only."""
    metric = next((line.instead_of or line.metric for line in lines), "")
    gained = [line for line in lines if line.groups and any(line.groups[0].gains.values())][:_LINES_IN_FIGURE]
    content = {
        "lines": lines,
        "with_figures": _LINES_WITH_FIGURES,
        "metric": tables.HEADS.get(metric, metric),
        "script": figure_html(gains_figure(gained), first=True) if gained else plotly_script(),
        "gained": len(gained),
        "now": now,
        "tables": tables,
        "figure_html": figure_html,
        "history_figure": history_figure,
        "seeds_figure": seeds_figure,
    }
    write_html(path, page_template("pipelines.comparing", "comparison.html.j2").render(**content))


def seeds_figure(group: Group, detector: str, metric: str) -> "Figure":
    """A metric by training set, the values of one seed joined by a line."""
    trials = [trial for trial in group.trials if trial.detector == detector]
    seeds = sorted({seed for trial in trials for seed in trial.by_seed[metric]})
    figure = empty_figure("", tables.HEADS[metric], height=320)
    for index, seed in enumerate(seeds):
        measured = [trial for trial in trials if seed in trial.by_seed[metric]]
        points = [(trial.training_set, trial.by_seed[metric][seed], "") for trial in measured]
        _add_line(figure, index, f"seed {seed}", points)
    names = [trial.training_set for trial in trials]
    figure.update_xaxes(categoryorder="array", categoryarray=names, range=[-0.3, len(names) - 0.7])
    return figure


def history_figure(line: LineComparison) -> "Figure":
    """The best figure of each finished run over time, a line for each training set."""
    figure = empty_figure("", f"best {tables.HEADS[line.metric]}", height=320)
    runs = [run for run in reversed(line.history.runs) if run.status == FINISHED and run.records]
    names = dict.fromkeys(trial.training_set for group in line.groups for trial in group.trials)
    for index, name in enumerate(names):
        points = []
        for run in runs:
            own = [record.metric(line.metric) for record in run.records if record.training_set == name]
            if values := [value for value in own if value is not None]:
                points.append((run.started, max(values), f"run {run.run_id}, seed {run.seed}"))
        _add_line(figure, index, name, points)
    return figure


def gains_figure(lines: Sequence[LineComparison]) -> "Figure":
    """Paired gains of the generated set in the newest group of each line: a dot for each seed, a bar for the mean."""
    rows = [(f"{line.line} {name}", gain) for line in lines for name, gain in line.groups[0].gains.items() if gain]
    figure = empty_figure(f"gain of {GENERATED}", "", height=110 + _ROW_HEIGHT * len(rows))
    means = [gain.mean for _, gain in rows]
    bars = {"color": [_POSITIVE if mean > 0 else _NEGATIVE for mean in means], "opacity": 0.3}
    figure.add_bar(x=means, y=[name for name, _ in rows], orientation="h", name="mean", marker=bars)
    points = [(difference, name, f"seed {seed}") for name, gain in rows for seed, difference in gain.differences]
    figure.add_scatter(**_axes(points), name="one seed", mode="markers", marker={"color": COLOURS[3], "size": 8})
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure.update_layout(showlegend=False, bargap=0.35)


def _add_line(figure: "Figure", index: int, name: str, points: Sequence[tuple[Any, Any, str]]) -> None:
    style = {"color": COLOURS[index % len(COLOURS)], "width": 1.5}
    figure.add_scatter(**_axes(points), name=name, mode="lines+markers", line=style)


def _axes(points: Sequence[tuple[Any, Any, str]]) -> dict[str, list[Any]]:
    """Coordinates and hover texts of points."""
    return {axis: [point[place] for point in points] for place, axis in enumerate(("x", "y", "text"))}
