"""Tests of what the HTML pages share."""

import pytest
from jinja2 import UndefinedError

from components.pages.html import empty_figure, figure_html, page_template


def test_first_figure_brings_the_script() -> None:
    figure = empty_figure("x", "y")
    assert "Plotly.newPlot" in figure_html(figure)
    assert len(figure_html(figure, first=True)) > 1_000_000 > len(figure_html(figure))


def test_layout_is_overridden() -> None:
    figure = empty_figure("x", "y", height=120)
    assert figure.layout.height == 120
    assert figure.layout.xaxis.title.text == "x"


def test_missing_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        page_template("components.reporting", "report.html.j2").render(line="bolts")
