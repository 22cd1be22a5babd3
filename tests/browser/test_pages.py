"""Our HTML pages in Chromium: nothing overlaps, is cut, faint or tiny, scrolls sideways or fails."""

from pathlib import Path

import pytest

from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.drift.config import Config as DriftConfig
from components.drift.measure import measure, write_drift
from components.registry.history import LineHistory
from components.tabulation.descriptions import DESCRIPTIONS
from components.tabulation.page import write_page as write_experiment
from pipelines.comparing.lines import compare_line
from pipelines.comparing.page import write_page
from tests.browser.chromium import Browser
from tests.components.drift.test_measure import other_object, write_new
from tests.components.image_sets import write_added, write_reference
from tests.components.tabulation.tables import full_table
from tests.components.test_chain import Chain, run_all
from tests.conftest import MvtecTree
from tests.pipelines.comparing.past_runs import NOW, past_run, version

pytestmark = pytest.mark.browser

SCREEN, PAPER = 1280, 703
"""Pixels of a common screen, and of a page of A4 between its margins."""
BAD_PAGE = """<!doctype html><title>bad</title><body style="margin: 0">
<div style="width: 1500px">a wide line</div>
<p style="position: absolute; top: 300px">one text</p><p style="position: absolute; top: 305px">another text</p>
<p style="color: #bbb">a faint text</p><p style="font-size: 8px">a tiny text</p><img src="none.png" alt="a picture">
<div style="overflow: hidden; width: 50px; white-space: nowrap">text that is cut off</div>
<script src="https://example.com/script.js"></script><script>console.error("wrong"); undefined.call()</script></body>"""


@pytest.fixture(scope="module")
def report(mvtec_tree: MvtecTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chain = Chain(tmp_path_factory.mktemp("report"))
    run_all(chain, str(mvtec_tree(train=2, test_good=3, test_bad=3)))
    return chain.root / "report.html"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison") / "page.html"
    lines = [a_line("bolts"), a_line("a-line-with-a-rather-long-name-of-hall-7"), LineHistory(line="empty", runs=())]
    write_page([compare_line(line, "image_auroc", NOW, 30) for line in lines], path, NOW)
    return path


def a_line(name: str) -> LineHistory:
    """A line with three seeds, a failed run, a champion and a refused challenger."""
    runs = [
        past_run(
            f"{seed}a1b2c3d",
            1 + seed,
            seed,
            {"none": 0.8 + seed / 50, "rotations": 0.9, "augmented": 0.83, "generated": 0.81 + seed / 100},
            line=name,
        )
        for seed in range(3)
    ]
    reasons = "min_champion_gain: 0.91, champion 0.93, wanted a gain in image_auroc above 0"
    refused = version(2, "challenger", gate="refused", gate_reasons=reasons)
    failed = past_run("9z8y7x6w", days_ago=0.5, status="FAILED", line=name)
    return LineHistory(line=name, runs=(failed, *runs), versions=(refused, version(1, "champion", gate="first")))


@pytest.fixture(scope="module")
def drift(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of another object, whose looks have changed."""
    folder = tmp_path_factory.mktemp("drift")
    reference = write_reference(folder / "reference", given=2, good=12, bad=2)
    added = write_added(folder / "added", 2, ["train-good-0"])
    train_detector(reference, added, added, folder / "detector", DetectorConfig(coreset_ratio=1.0))
    found = measure(reference, write_new(folder / "new", other_object), folder / "detector", "bolts", DriftConfig())
    write_drift(found, folder / "drift", folder / "drift.html")
    return folder / "drift.html"


@pytest.fixture(params=["report", "comparison", "drift", *DESCRIPTIONS])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param not in DESCRIPTIONS:
        return Path(request.getfixturevalue(request.param))
    path = tmp_path / "page.html"
    write_experiment(request.param, full_table(), {"seeds": "0,1", "settings": "defaults"}, path, NOW)
    return path


def test_page_is_legible_on_a_screen(browser: Browser, page: Path) -> None:
    browser.open(page, SCREEN)
    assert browser.evaluate("document.querySelectorAll('.js-plotly-plot .main-svg').length") > 0
    assert (browser.problems, browser.layout_problems()) == ([], [])
    browser.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert (browser.problems, browser.layout_problems()) == ([], [])


def test_page_is_legible_on_paper(browser: Browser, page: Path) -> None:
    browser.open(page, SCREEN)
    browser.print_layout(PAPER)
    assert (browser.problems, browser.layout_problems()) == ([], [])


def test_page_prints(browser: Browser, page: Path) -> None:
    browser.open(page, SCREEN)
    assert len(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"]) > 50_000
    assert browser.problems == []


def test_problems_are_found(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text(BAD_PAGE, encoding="utf-8")
    browser.open(path, SCREEN)
    found = "\n".join(browser.layout_problems())
    for text in (
        "scrolls sideways",
        '"one text" at 0,316 overlaps "another text"',
        '"a faint text" at 0,34 has a contrast of 1.9',
        "is 8 px small",
        "no picture: a picture",
        'class=""> hides',
    ):
        assert text in found
    console = "\n".join(browser.problems)
    for text in ("wrong", "TypeError", "https://example.com/script.js"):
        assert text in console


def test_no_line_has_nothing_to_show(browser: Browser, tmp_path: Path) -> None:
    write_page([], tmp_path / "page.html", NOW)
    browser.open(tmp_path / "page.html", SCREEN)
    assert (browser.problems, browser.layout_problems()) == ([], [])
