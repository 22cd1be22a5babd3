"""Plotly figures of the experiments' pages: the paper's figures, made again."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from components.pages.html import COLOURS, empty_figure
from components.tabulation.gather import COMPARED_PROMPTS
from components.tabulation.statistics import ALL_CLASSES, Line, correlation

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

_SYMBOLS = ("circle", "square", "diamond", "cross", "triangle-up", "star")


def bars(lines: Sequence[Line], title: str, groups: Sequence[str]) -> "Figure":
    """Means as bars with standard deviations, a group for each class, a colour for each method."""
    figure = empty_figure("", title)
    for index, line in enumerate(lines):
        shown = {name: found for name in groups if (found := line.cells.get(name))}
        figure.add_bar(
            x=list(shown),
            y=[found.mean for found in shown.values()],
            error_y={"type": "data", "array": [found.sd or 0 for found in shown.values()], "thickness": 1, "width": 3},
            name=line.label,
            # Of the bars of one colour, the first ones are plain and the others hatched.
            marker={"color": COLOURS[index % len(COLOURS)], "pattern": {"shape": "/" if index >= len(COLOURS) else ""}},
        )
    if means := [found.mean for line in lines for found in line.cells.values() if found]:
        # The axis starts below the lowest mean, in tenths, as differences are small beside the values.
        low = int(max(0.0, min(means) - 0.1) * 10) / 10
        figure.update_yaxes(range=[low, max(1.0, *means) * 1.01])
    return figure.update_layout(barmode="group", bargap=0.25)


def by_shots(lines: Sequence[Line], title: str) -> "Figure":
    """Means over classes against the number of given images, a curve for each method."""
    figure = empty_figure("given images", title)
    for index, method in enumerate(dict.fromkeys(line.method for line in lines)):
        own = {line.shots: found for line in lines if line.method == method and (found := line.cells[ALL_CLASSES])}
        figure.add_scatter(
            x=[str(shots or "all") for shots in own],
            y=[found.mean for found in own.values()],
            error_y={"type": "data", "array": [found.sd or 0 for found in own.values()]},
            name=method,
            mode="lines+markers",
            line={"color": COLOURS[index % len(COLOURS)]},
        )
    return figure.update_xaxes(type="category")


def scatter(pairs: "pd.DataFrame", title: str) -> "Figure":
    """Gain of each set against a measure of it, a colour for each class and detector, with Pearson's r (paper Fig. 2).

    Every r is that within classes, shots, seeds and detectors; see `correlation`.
    """
    x_title = f"{title}<br>within classes {_r(pairs)}"
    figure = empty_figure(x_title, "gain in image AUROC over none", margin={"l": 60, "r": 20, "t": 20, "b": 75})
    for index, ((name, detector), own) in enumerate(pairs.groupby(["class_name", "detector"], sort=False)):
        marker = {"color": COLOURS[index % len(COLOURS)], "symbol": _SYMBOLS[index % len(_SYMBOLS)], "size": 8}
        texts = [f"seed {seed}, {method}" for seed, method in zip(own["seed"], own["method"], strict=True)]
        label = f"{name}, {detector}: {_r(own)}"
        figure.add_scatter(x=own["value"], y=own["gain"], text=texts, name=label, mode="markers", marker=marker)
    return figure


def _r(pairs: "pd.DataFrame") -> str:
    r = correlation(pairs)
    return "r is undefined" if r is None else f"r = {round(r, 2) + 0.0:.2f}, {len(pairs)} sets"


def trend(rows: "pd.DataFrame") -> "Figure":
    """Cosine of each iteration's set to the prompt, a curve for each seed, the best one marked (paper Fig. 9)."""
    figure = empty_figure("iteration", "cosine to the prompt")
    for index, (seed, own) in enumerate(rows.groupby("seed")):
        colour = COLOURS[index % len(COLOURS)]
        ordered = own.assign(iteration=own["item"].astype(int)).sort_values("iteration")
        best = ordered.iloc[int(ordered["value"].argmax())]
        line, star = {"color": colour, "width": 2}, {"color": colour, "size": 11, "symbol": "star"}
        figure.add_scatter(x=ordered["iteration"], y=ordered["value"], name=f"seed {seed}", mode="lines", line=line)
        shown = {"x": [best["iteration"]], "y": [best["value"]], "mode": "markers", "marker": star}
        figure.add_scatter(**shown, showlegend=False, name="best")
    return figure


def prompt_similarities(rows: "pd.DataFrame") -> "Figure":
    """Cosine of the candidate prompts to the object's name, and below to the given images (paper Fig. 8).

    They are in the order of the latter; marked are the best and the worst one, the word alone and the naive prompt.
    """
    table = rows.pivot_table(index=["item", "note"], columns="measure", values="value", sort=False).reset_index()
    table = table.sort_values("cosine", ascending=False, ignore_index=True)
    table["place"] = table.index + 1
    figure = empty_figure("", "cosine to the word", height=560)
    figure.set_subplots(rows=2, shared_xaxes=True, vertical_spacing=0.06)
    figure.update_xaxes(title="place by the cosine to the given images", row=2)
    figure.update_yaxes(title="cosine to the images", row=2)
    for row, measure in enumerate(("text_cosine", "cosine"), start=1):
        for name, own, marker in _prompt_groups(table):
            shown = {"x": own["place"], "y": own[measure], "text": own["item"], "mode": "markers", "marker": marker}
            figure.add_scatter(**shown, name=name, legendgroup=name, showlegend=row == 1, row=row, col=1)
    return figure


def _prompt_groups(table: "pd.DataFrame") -> "Iterator[tuple[str, pd.DataFrame, dict[str, Any]]]":
    """Name, prompts and marker of each group; the marked prompts come last, over the others."""
    candidates, dropped = ~table["note"].isin(list(COMPARED_PROMPTS.values())), table["note"].str.contains("dropped")
    kept = table[candidates & ~dropped]
    for name, own, colour in (("kept", kept, COLOURS[1]), ("dropped", table[candidates & dropped], COLOURS[0])):
        yield name, own, {"color": colour, "size": 7, "opacity": 0.6}
    ends = {"best": kept["cosine"].idxmax(), "worst": table[candidates]["cosine"].idxmin()}
    for name, index, colour in zip(ends, ends.values(), (COLOURS[5], COLOURS[6]), strict=True):
        found = table.loc[[index]]
        yield f"{name}: {found['item'].iloc[0]}", found, {"color": colour, "size": 13, "symbol": "star"}
    for note, colour in zip(COMPARED_PROMPTS.values(), (COLOURS[4], COLOURS[3]), strict=True):
        yield note, table[table["note"] == note], {"color": colour, "size": 11, "symbol": "diamond"}
