"""Plotly figures of the experiments' pages: the paper's figures, made again."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from components.pages import COLOURS, empty_figure
from components.tabulation.statistics import ALL_CLASSES, Line, correlation

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star")


def bars(lines: Sequence[Line], title: str, groups: Sequence[str]) -> "Figure":
    """Means as bars with standard deviations, a group for each class, a colour for each method."""
    figure = empty_figure("", title)
    for index, line in enumerate(lines):
        shown = [(name, found) for name in groups if (found := line.cells.get(name)) is not None]
        figure.add_bar(
            x=[name for name, _ in shown],
            y=[found.mean for _, found in shown],
            error_y={"type": "data", "array": [found.sd or 0 for _, found in shown], "thickness": 1, "width": 3},
            name=line.method,
            marker={"color": COLOURS[index % len(COLOURS)], "pattern": {"shape": _pattern(index)}},
        )
    return _from_the_lowest(figure, [found.mean for line in lines for found in line.cells.values() if found])


def by_shots(lines: Sequence[Line], title: str) -> "Figure":
    """Means over classes against the number of given images, a curve for each method."""
    figure = empty_figure("given images", title)
    for index, method in enumerate(dict.fromkeys(line.method for line in lines)):
        own = [line for line in lines if line.method == method and line.cells[ALL_CLASSES] is not None]
        points = [(_shots(line.shots), line.cells[ALL_CLASSES]) for line in own]
        figure.add_scatter(
            x=[shots for shots, _ in points],
            y=[found.mean for _, found in points if found],
            error_y={"type": "data", "array": [found.sd or 0 for _, found in points if found]},
            name=method,
            mode="lines+markers",
            line={"color": COLOURS[index % len(COLOURS)]},
        )
    return figure.update_xaxes(type="category")


def scatter(pairs: "pd.DataFrame", title: str) -> "Figure":
    """Gain of each set against a measure of it, a colour for each class, with Pearson's r (paper Fig. 2)."""
    r = correlation(list(pairs["value"]), list(pairs["gain"]))
    shown = "no correlation can be told" if r is None else f"Pearson's r = {r:.2f} over {len(pairs)} sets"
    figure = empty_figure(f"{title} ({shown})", "gain in image AUROC over no added images")
    for index, (name, own) in enumerate(pairs.groupby("class_name", sort=False)):
        marker = {"color": COLOURS[index % len(COLOURS)], "symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 8}
        texts = [f"seed {seed}, {method}" for seed, method in zip(own["seed"], own["method"], strict=True)]
        figure.add_scatter(x=own["value"], y=own["gain"], text=texts, name=str(name), mode="markers", marker=marker)
    return figure


def trend(rows: "pd.DataFrame") -> "Figure":
    """Cosine of each iteration's set to the prompt, a curve for each seed, the best one marked (paper Fig. 9)."""
    figure = empty_figure("iteration", "cosine to the prompt")
    for index, (seed, own) in enumerate(rows.groupby("seed")):
        colour = COLOURS[index % len(COLOURS)]
        ordered = own.assign(iteration=own["item"].astype(int)).sort_values("iteration")
        best = ordered.iloc[int(ordered["value"].argmax())]
        line = {"color": colour, "width": 2}
        figure.add_scatter(x=ordered["iteration"], y=ordered["value"], name=f"seed {seed}", mode="lines", line=line)
        marker = {"color": colour, "size": 11, "symbol": "star"}
        figure.add_scatter(
            x=[best["iteration"]], y=[best["value"]], mode="markers", marker=marker, showlegend=False, name="best"
        )
    return figure


def prompt_distances(rows: "pd.DataFrame") -> "Figure":
    """L2 distance and cosine of every candidate prompt to the given image, best and worst marked (paper Fig. 8)."""
    table = rows.pivot_table(index=["item", "note"], columns="measure", values="value", sort=False).reset_index()
    dropped = table["note"].str.contains("dropped")
    figure = empty_figure("L2 distance to the given image", "cosine to the given image")
    for name, own, colour in (("kept", table[~dropped], COLOURS[1]), ("dropped", table[dropped], COLOURS[0])):
        marker = {"color": colour, "size": 7, "opacity": 0.7}
        figure.add_scatter(x=own["l2"], y=own["cosine"], text=own["item"], name=name, mode="markers", marker=marker)
    kept = table[~dropped]
    for name, found, colour in _ends(kept, table):
        marker = {"color": colour, "size": 13, "symbol": "star"}
        figure.add_scatter(
            x=[found["l2"]], y=[found["cosine"]], mode="markers", marker=marker, name=f"{name}: {found['item']}"
        )
    return figure


def _ends(kept: "pd.DataFrame", table: "pd.DataFrame") -> "Iterator[tuple[str, pd.Series[float], str]]":
    yield "best", kept.iloc[int(kept["cosine"].argmax())], COLOURS[5]
    yield "worst", table.iloc[int(table["cosine"].argmin())], COLOURS[6]


def _pattern(index: int) -> str:
    """Of the bars of one colour, the first ones are plain and the others hatched."""
    return "/" if index >= len(COLOURS) else ""


def _shots(shots: int) -> str:
    return str(shots) if shots else "all"


def _from_the_lowest(figure: "Figure", means: Sequence[float]) -> "Figure":
    """Start the axis below the lowest mean, in tenths, as differences are small beside the values."""
    if means:
        low = int(max(0.0, min(means) - 0.1) * 10) / 10
        figure.update_yaxes(range=[low, max(1.0, *means) * 1.01])
    return figure.update_layout(barmode="group", bargap=0.25)
