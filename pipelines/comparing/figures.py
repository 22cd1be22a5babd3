"""Plotly figures of the comparison page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.metrics.records import GENERATED, Record
from components.pages.html import COLOURS, empty_figure
from components.registry.history import FINISHED
from pipelines.comparing.lines import Group, LineComparison
from pipelines.comparing.tables import HEADS

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_POSITIVE, _NEGATIVE = COLOURS[4], COLOURS[5]
_ROW_HEIGHT = 26


def seeds_figure(group: Group, detector: str, metric: str) -> "Figure":
    """A metric by training set, the values of one seed joined by a line."""
    trials = [trial for trial in group.trials if trial.detector == detector]
    seeds = sorted({seed for trial in trials for seed in trial.by_seed[metric]})
    figure = empty_figure("", HEADS[metric], height=320)
    for index, seed in enumerate(seeds):
        own = [trial for trial in trials if seed in trial.by_seed[metric]]
        style = {"color": COLOURS[index % len(COLOURS)], "width": 1.5}
        figure.add_scatter(
            x=[trial.training_set for trial in own],
            y=[trial.by_seed[metric][seed] for trial in own],
            name=f"seed {seed}",
            mode="lines+markers",
            line=style,
        )
    names = [trial.training_set for trial in trials]
    figure.update_xaxes(categoryorder="array", categoryarray=names, range=[-0.3, len(names) - 0.7])
    return figure


def history_figure(line: LineComparison) -> "Figure":
    """The best figure of each finished run over time, a line for each training set."""
    figure = empty_figure("", f"best {HEADS[line.metric]}", height=320)
    runs = [run for run in reversed(line.history.runs) if run.status == FINISHED and run.records]
    names = list(dict.fromkeys(trial.training_set for group in line.groups for trial in group.trials))
    for index, name in enumerate(names):
        points = [
            (run.started, max(found), f"run {run.run_id}, seed {run.seed}")
            for run in runs
            if (found := [one.metrics[line.metric] for one in run.records if _has(one, name, line.metric)])
        ]
        figure.add_scatter(
            **_points(points),
            name=name,
            mode="lines+markers",
            line={"color": COLOURS[index % len(COLOURS)], "width": 1.5},
        )
    return figure


def gains_figure(lines: Sequence[LineComparison]) -> "Figure":
    """Paired gains of the generated set in the newest group of each line: a dot for each seed, a bar for the mean."""
    rows = [
        (f"{line.line} {detector}", gain)
        for line in lines
        if line.groups
        for detector, gain in line.groups[0].gains.items()
        if gain is not None
    ]
    figure = empty_figure(f"gain of {GENERATED}", "", height=110 + _ROW_HEIGHT * len(rows))
    names = [name for name, _ in rows]
    means = [gain.mean for _, gain in rows]
    colours = [_POSITIVE if mean > 0 else _NEGATIVE for mean in means]
    figure.add_bar(x=means, y=names, orientation="h", name="mean", marker={"color": colours, "opacity": 0.3})
    points = [(difference, name, f"seed {seed}") for name, gain in rows for seed, difference in gain.differences]
    dots = {"color": COLOURS[3], "size": 8}
    figure.add_scatter(**_points(points), name="one seed", mode="markers", marker=dots)
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure.update_layout(showlegend=False, bargap=0.35)


def _points(points: Sequence[tuple[Any, Any, str]]) -> dict[str, list[Any]]:
    """Coordinates and hover texts of points."""
    return {axis: [point[place] for point in points] for place, axis in enumerate(("x", "y", "text"))}


def _has(record: Record, training_set: str, metric: str) -> bool:
    return record.training_set == training_set and record.metric(metric) is not None
