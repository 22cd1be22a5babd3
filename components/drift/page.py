"""The page of a drift measurement."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.change.rule import Hint, Scores
from components.pages.html import COLOURS, empty_figure, figure_html, page_template

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

_BINS = 30
_SHOWN = 10


def drift_html(line: str, hint: Hint, of: str, scores: Scores | None, ranked: Sequence[tuple[str, float]]) -> str:
    """Self-contained page of a `Measured`; `ranked` are its new scores."""
    figure = "" if scores is None else figure_html(_score_figure(scores), first=True)
    template = page_template("components.drift", "drift.html.j2")
    return template.render(line=line, hint=hint, of=of, figure=figure, highest=ranked[:_SHOWN])


def _score_figure(scores: Scores) -> "Figure":
    """Distributions of the scores of good images, as shares, with the threshold."""
    values = [*scores.reference, *scores.new]
    low, high = float(min(values)), float(max(values))
    bins = {"start": low, "end": high * 1.0001, "size": max(high - low, 1e-9) / _BINS}
    figure = empty_figure("anomaly score of good images", "share of the images", height=320)
    sets: Sequence[tuple[str, Sequence[float], str]] = (
        ("reference, held out", scores.reference.tolist(), COLOURS[1]),
        ("new", scores.new.tolist(), COLOURS[2]),
    )
    for name, shown, colour in sets:
        marker = {"color": colour}
        figure.add_histogram(x=shown, name=name, marker=marker, opacity=0.65, xbins=bins, histnorm="probability")
    if scores.threshold is not None:
        figure.add_vline(x=scores.threshold, line={"color": COLOURS[5], "dash": "dash"}, annotation_text="threshold")
    return figure.update_layout(barmode="overlay")
