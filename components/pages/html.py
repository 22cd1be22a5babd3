"""What all HTML pages share: one self-contained layout (`page.html.j2`), escaping, and the look of plotly's figures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import replacing

if TYPE_CHECKING:
    from jinja2 import Template
    from plotly.graph_objects import Figure

COLOURS = ("#6b7280", "#0891b2", "#d97706", "#7c3aed", "#16a34a", "#dc2626", "#2563eb", "#be185d")
"""One per curve, distinct in print and for most colour-blind readers."""

_PRINT_SCRIPT = """
<script>
  // Figures are as wide as the screen leaves them; a printed page is 186 mm, which is 703 pixels.
  const figures = () => [...document.querySelectorAll(".js-plotly-plot")];
  const resize = (figure, size) => Plotly.relayout(figure, size);
  addEventListener("beforeprint", () => figures().forEach(
    figure => resize(figure, {width: Math.min(figure.clientWidth, 700)})));
  addEventListener("afterprint", () => figures().forEach(figure => resize(figure, {width: null, autosize: true})));
</script>
"""


def page_template(package: str, name: str) -> "Template":
    """Template `name` in the folder of a package; it may extend `page.html.j2`, and escapes every value.

    A value that the template asks for and does not get is an error.
    """
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    loader = ChoiceLoader([PackageLoader(package, "."), PackageLoader("components.pages", ".")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined).get_template(name)


def figure_html(figure: "Figure", first: bool = False) -> str:
    """A figure's HTML; the first of a page brings plotly's script, and what fits the figures to a printed page."""
    html = str(
        figure.to_html(full_html=False, include_plotlyjs=first, config={"displayModeBar": False, "responsive": True})
    )
    return html + _PRINT_SCRIPT if first else html


def plotly_script() -> str:
    """What the first figure of a page brings, for a page whose figures are all further down."""
    from plotly.offline import get_plotlyjs

    return f"<script>{get_plotlyjs()}</script>{_PRINT_SCRIPT}"


def write_html(path: Path, html: str) -> None:
    """Write a page, complete or not at all."""
    with replacing(path) as partial:
        partial.write_text(html, encoding="utf-8")


def empty_figure(x_title: str, y_title: str, **layout: Any) -> "Figure":
    """Figure without curves, in the pages' look; `layout` overrides it."""
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
    return figure.update_layout(**layout)
