"""Plotly figures of the report."""

import math
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure as Picture
from plotly.graph_objects import Figure

from components.pages.html import COLOURS, empty_figure
from components.reporting.sources import Curves

_SCORE_BINS = 30
_LOSSES = ("mse", "reconstruction", "perceptual", "codebook", "discriminator")
_MOST_DECADES = 4


def roc_figure(curves: Curves) -> Figure:
    """ROC curves by name: false against true positive rate."""
    figure = empty_figure("false positive rate", "true positive rate")
    for index, (name, (false_positive, true_positive)) in enumerate(curves.items()):
        line = {"color": COLOURS[index % len(COLOURS)], "width": 2.5}
        figure.add_scatter(x=false_positive, y=true_positive, name=name, mode="lines", line=line)
    figure.add_scatter(x=[0, 1], y=[0, 1], name="chance", mode="lines", line={"color": "#d1d5db", "dash": "dot"})
    return figure.update_xaxes(range=[-0.01, 1.01]).update_yaxes(range=[-0.01, 1.02])


def curve_picture(curves: Curves, horizontal: str, vertical: str) -> Picture:
    """Curves by name with both axes from 0 to 1, for where no script runs."""
    figure = Picture(figsize=(7, 5), dpi=110, layout="tight")
    axes = figure.add_subplot(xlabel=horizontal, ylabel=vertical, xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    for index, (name, (x, y)) in enumerate(curves.items()):
        axes.plot(x, y, color=COLOURS[index % len(COLOURS)], linewidth=2, label=name)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center", fontsize="small")
    return figure


def loss_figure(steps: pd.DataFrame) -> Figure:
    """Loss terms of the fine-tuning loop by step, on a logarithmic axis; terms that may be negative are left out."""
    figure = empty_figure("step", "value (log)")
    positive = steps[list(_LOSSES)].where(steps[list(_LOSSES)] > 0)
    for index, (name, values) in enumerate(positive.items()):
        line = {"color": COLOURS[index], "width": 2}
        figure.add_scatter(x=steps["step"], y=values, name=name, mode="lines", line=line)
    decades = math.log10(positive.max().max() / positive.min().min())
    # Without a format plotly writes 2 to 9 between the powers, small and on top of each other.
    return figure.update_yaxes(type="log", dtick="D2" if decades < _MOST_DECADES else 1, tickformat="~g")


def trend_figure(trend: pd.DataFrame) -> Figure:
    """Cosine of each candidate set to the best prompt, with the selected set marked (paper Fig. 9)."""
    best = trend.iloc[int(trend["cosine"].argmax())]
    figure = empty_figure("iteration", "cosine to the best prompt")
    line = {"color": COLOURS[1]}
    figure.add_scatter(x=trend["iteration"], y=trend["cosine"], mode="lines+markers", name="similarity", line=line)
    marker = {"color": COLOURS[3], "size": 13, "symbol": "star"}
    figure.add_scatter(x=[best["iteration"]], y=[best["cosine"]], mode="markers", name="selected", marker=marker)
    return figure.update_xaxes(dtick=max(1, len(trend) // 12))


def score_figure(good: Sequence[float], bad: Sequence[float]) -> Figure:
    """Distribution of the anomaly scores of good and bad test images."""
    scores = [*good, *bad]
    low, high = min(scores), max(scores)
    bins = {"start": low, "end": high * 1.0001, "size": max(high - low, 1e-9) / _SCORE_BINS}
    figure = empty_figure("anomaly score", "test images")
    for name, values, colour in (("good", good, COLOURS[1]), ("bad", bad, COLOURS[5])):
        figure.add_histogram(x=values, name=name, marker={"color": colour}, opacity=0.65, xbins=bins)
    return figure.update_layout(barmode="overlay")
