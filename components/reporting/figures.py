"""Plotly figures of the report."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd
    from plotly.graph_objects import Figure

COLOURS = ("#6b7280", "#0891b2", "#d97706", "#7c3aed", "#16a34a", "#dc2626", "#2563eb", "#be185d")
"""One per curve, told apart in print and by most colour-blind readers."""

_SCORE_BINS = 30

Curve = tuple[Sequence[float], Sequence[float]]


def roc_figure(curves: Mapping[str, Curve]) -> "Figure":
    """ROC curves by name: false against true positive rate."""
    figure = _figure("false positive rate", "true positive rate")
    for index, (name, (false_positive, true_positive)) in enumerate(curves.items()):
        line = {"color": COLOURS[index % len(COLOURS)], "width": 2.5}
        figure.add_scatter(x=false_positive, y=true_positive, name=name, mode="lines", line=line)
    figure.add_scatter(x=[0, 1], y=[0, 1], name="chance", mode="lines", line={"color": "#d1d5db", "dash": "dot"})
    figure.update_xaxes(range=[-0.01, 1.01])
    figure.update_yaxes(range=[-0.01, 1.02])
    return figure


def loss_figure(steps: "pd.DataFrame") -> "Figure":
    """Loss terms of the fine-tuning loop by step, on a logarithmic axis; terms that may be negative are left out."""
    figure = _figure("step", "value (log)")
    for index, name in enumerate(("mse", "reconstruction", "perceptual", "codebook", "discriminator")):
        values = steps[name].where(steps[name] > 0)
        line = {"color": COLOURS[index], "width": 2}
        figure.add_scatter(x=steps["step"], y=values, name=name, mode="lines", line=line)
    figure.update_yaxes(type="log")
    return figure


def trend_figure(trend: "pd.DataFrame") -> "Figure":
    """Cosine of each candidate set to the best prompt, with the selected set marked (paper Fig. 9)."""
    best = trend.iloc[int(trend["cosine"].argmax())]
    figure = _figure("iteration", "cosine to the best prompt")
    figure.add_scatter(
        x=trend["iteration"], y=trend["cosine"], mode="lines+markers", name="similarity", line={"color": COLOURS[1]}
    )
    marker = {"color": COLOURS[3], "size": 13, "symbol": "star"}
    figure.add_scatter(x=[best["iteration"]], y=[best["cosine"]], mode="markers", name="selected", marker=marker)
    figure.update_xaxes(dtick=max(1, len(trend) // 12))
    return figure


def score_figure(good: Sequence[float], bad: Sequence[float]) -> "Figure":
    """Distribution of the anomaly scores of good and bad test images."""
    scores = [*good, *bad]
    low, high = min(scores), max(scores)
    bins = {"start": low, "end": high * 1.0001, "size": max(high - low, 1e-9) / _SCORE_BINS}
    figure = _figure("anomaly score", "test images")
    for name, values, colour in (("good", good, COLOURS[1]), ("bad", bad, COLOURS[5])):
        figure.add_histogram(x=values, name=name, marker={"color": colour}, opacity=0.65, xbins=bins)
    figure.update_layout(barmode="overlay")
    return figure


def _figure(x_title: str, y_title: str) -> "Figure":
    from plotly.graph_objects import Figure

    figure = Figure()
    figure.update_layout(
        template="plotly_white",
        height=380,
        margin={"l": 60, "r": 20, "t": 20, "b": 55},
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        xaxis_title=x_title,
        yaxis_title=y_title,
    )
    return figure
