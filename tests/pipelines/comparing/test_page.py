"""Tests of the comparison page, and of what is shown of hostile names."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from components.registry.history import LineHistory
from pipelines.comparing.lines import compare_line
from pipelines.comparing.page import write_page
from tests.pipelines.comparing.past_runs import NOW, history, past_run, records, version

HOSTILE = "<img src=x onerror=alert(7)>"


class Tags(HTMLParser):
    """The tags of a page, and the addresses of its links."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.links += [values["href"] or ""] if tag == "a" and "href" in values else []
        self.loaded += [value or "" for name, value in attrs if name == "src" or (name == "href" and tag == "link")]


def page(path: Path, *histories: LineHistory) -> str:
    write_page([compare_line(one, "image_auroc", NOW, 30) for one in histories], path / "page.html", NOW)
    assert [file.name for file in path.iterdir()] == ["page.html"]
    return (path / "page.html").read_text(encoding="utf-8")


def measured(days_ago: float, seed: int, **fields: object) -> object:
    return past_run(f"run-{seed}", days_ago, seed, {"none": 0.8, "generated": 0.81 + seed / 100}, **fields)


def test_page_shows_the_statistics(tmp_path: Path) -> None:
    html = page(tmp_path, history(*(measured(1 + seed, seed) for seed in range(3))))  # type: ignore[arg-type]
    assert "0.8000 ± 0.0000" in html
    assert "0.8200 ± 0.0100" in html
    assert "95% t-interval -0.0048 to +0.0448 over 3 seeds, includes 0: no difference shown" in html
    assert "seed 0: +0.0100, seed 1: +0.0200, seed 2: +0.0300" in html


def test_page_has_a_column_for_each_measured_kind(tmp_path: Path) -> None:
    run = past_run("a", 1, 0, records=tuple(replace(one, spro_logical=0.3456) for one in records(0, none=0.8)))
    html = page(tmp_path, history(run))
    assert '<th class="number">sPRO, logical</th>' in html
    assert "0.3456" in html
    assert "sPRO, structural" not in html


def test_page_is_self_contained(tmp_path: Path) -> None:
    tags = Tags(page(tmp_path, history(measured(1, 0))))  # type: ignore[arg-type]
    assert tags.loaded == []


def test_hostile_names_are_text(tmp_path: Path) -> None:
    run = past_run(
        HOSTILE,
        records=records(0, HOSTILE, **{HOSTILE: 0.9, "generated": 0.8}),
        status="FINISHED",
        registered=f"{HOSTILE}/{HOSTILE}",
        model_version="1",
    )
    failed = past_run(HOSTILE + "2", days_ago=0.5, status="FAILED")
    refused = version(1, HOSTILE, gate="refused", gate_reasons=HOSTILE)
    given = LineHistory(line=HOSTILE, runs=(failed, run), versions=(refused,))
    html = page(tmp_path, given)
    assert HOSTILE not in html
    assert "&lt;img src=x onerror=alert(7)&gt;" in html
    assert "img" not in Tags(html).tags


@pytest.mark.parametrize(
    ("link", "expected"),
    [("https://mlflow.example/#/runs/1", ["https://mlflow.example/#/runs/1"]), ("javascript:alert(7)", []), ("", [])],
)
def test_only_addresses_of_the_web_become_links(tmp_path: Path, link: str, expected: list[str]) -> None:
    tags = Tags(page(tmp_path, history(measured(1, 0, link=link))))  # type: ignore[arg-type]
    assert sorted({found for found in tags.links if not found.startswith("#")}) == expected


def test_line_without_measured_runs(tmp_path: Path) -> None:
    html = page(tmp_path, history(past_run("a", status="FAILED")))
    assert "No run of this line has been measured." in html
    assert "Plotly.newPlot" not in html.rpartition("</style>")[2].split("<h1>")[-1][-20_000:]


def test_no_lines(tmp_path: Path) -> None:
    assert "Comparison of 0 lines" in page(tmp_path)


def test_figures_are_bounded(tmp_path: Path) -> None:
    lines = [LineHistory(line=f"line-{index:02d}", runs=(measured(1, 0),)) for index in range(60)]  # type: ignore[arg-type]
    html = page(tmp_path, *lines)
    assert "Figures are drawn for the first 12 lines only." in html
    assert html.count("by training set and seed") == 12
    assert html.count('id="line-') == 60
