from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from components.metrics.seeds import Spread
from components.pages.html import COLOURS
from components.tabulation import figures
from components.tabulation.descriptions import DESCRIPTIONS
from components.tabulation.page import shots_text, spread_text, write_page
from components.tabulation.statistics import ALL_CLASSES, lines
from tests.components.tabulation.tables import detector_table, full_table, prompt_rows, row, trend_rows

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def page(tmp_path: Path, name: str, table: pd.DataFrame) -> str:
    path = tmp_path / "page.html"
    write_page(name, table, {"seeds": "0,1"}, path, NOW)
    assert [found.name for found in tmp_path.iterdir()] == ["page.html"]
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_every_experiment_has_a_page_with_its_tables(tmp_path: Path, name: str) -> None:
    html = page(tmp_path, name, full_table())
    assert DESCRIPTIONS[name].title in html
    assert "0.880 ± 0.028" in html
    assert "fid: no weights are named" in html
    assert "a bolt with mirth" in html


def test_it_says_whether_the_generated_images_help(tmp_path: Path) -> None:
    html = page(tmp_path, "fig5", detector_table())
    assert "bolt, patchcore, 1 shot: generated images +0.130 image AUROC against rotations" in html
    assert "bolt, patchcore, 1 shot: generated images +0.230 image AUROC against none, no added images; n = 2" in html
    assert "mean over the classes, patchcore, 1 shot: generated images +0.115 image AUROC against none" in html
    assert "n = 2: too small for an interval" in html


def test_the_gain_over_no_added_images_is_stated_once_with_its_interval(tmp_path: Path) -> None:
    third = detector_table().query("seed == 0").assign(seed=2)
    html = page(tmp_path, "fig5", pd.concat([detector_table(), third]))
    own = [part for part in html.split("<li>") if part.startswith("nut, patchcore")]
    assert len(own) == 1
    assert "against none, the best baseline; 95% t-interval -0.3202 to +0.2535" in own[0]
    assert "bolt, patchcore, 1 shot: generated images +0.253 image AUROC against none, no added images; 95% t-" in html


def test_rows_state_how_many_images_they_add(tmp_path: Path) -> None:
    counts = [row(class_name=name, method="generated", measure="images", value=16) for name in ("bolt", "nut")]
    html = page(tmp_path, "table1", pd.concat([detector_table(), pd.DataFrame(counts)]))
    assert '<tr class="best"><td>patchcore</td><td>1 shot</td><td>generated, 16 images</td>' in html
    assert "<td>none</td>" in html
    assert "<h3>images</h3>" not in html


def test_banks_are_whole_numbers_of_patches(tmp_path: Path) -> None:
    banks = [
        row(class_name="bolt", method=name, seed=seed, detector="patchcore", measure="bank_patches", value=1024 + seed)
        for name in ("none", "repeated")
        for seed in (0, 2)
    ]
    html = page(tmp_path, "fig5", pd.concat([detector_table(), pd.DataFrame(banks)]))
    assert "<summary>patches in the memory bank</summary>" in html
    assert html.count("1025 ± 1") == 2


def test_every_method_has_its_difference_from_none(tmp_path: Path) -> None:
    html = page(tmp_path, "fig5", detector_table())
    assert '<td>generated</td><td class="number">+0.115</td><td class="number">-, 2</td>' in html
    assert "With fewer than 5 seeds an interval says little" in html
    more = pd.concat([detector_table().query("seed == 0").assign(seed=seed) for seed in range(5)])
    assert "With fewer than" not in page(tmp_path, "fig5", more)


def test_figure_5_shows_the_classes_that_gain_most_where_there_are_more(tmp_path: Path) -> None:
    bolt = detector_table().query("class_name == 'bolt'")
    six = pd.concat([bolt.assign(class_name=f"class {index}") for index in range(6)])
    assert "the classes that gain most" in page(tmp_path, "fig5", six)
    assert "the classes that gain most" not in page(tmp_path, "fig5", detector_table())


def test_values_are_escaped(tmp_path: Path) -> None:
    table = detector_table()
    table["class_name"] = "<script>alert(1)</script>"
    assert "<td><script>alert" not in page(tmp_path, "fig5", table)


def test_trend_marks_the_best_iteration_of_each_seed() -> None:
    figure = figures.trend(trend_rows())
    best = [trace for trace in figure.data if trace.name == "best"]
    assert [list(trace.x) for trace in best] == [[1], [0]]


def test_every_class_and_detector_has_its_own_r() -> None:
    names = {"shots": 1, "seed": 0, "method": "x"}
    sets = [
        {"class_name": name, "detector": detector, **names, "value": base + step, "gain": base + sign * step}
        for name, base in {"bolt": 0.0, "nut": 5.0}.items()
        for detector, sign in {"patchcore": -1, "padim": 1}.items()
        for step in range(3)
    ]
    figure = figures.scatter(pd.DataFrame(sets), "similarity")
    assert figure.layout.xaxis.title.text == "similarity<br>within classes r = 0.00, 12 sets"
    assert [trace.name for trace in figure.data] == [
        f"{name}, {detector}: r = {r}, 3 sets"
        for name in ("bolt", "nut")
        for detector, r in {"patchcore": "-1.00", "padim": "1.00"}.items()
    ]


def test_prompts_are_marked_in_both_panels() -> None:
    figure = figures.prompt_similarities(prompt_rows())
    marked = ["best: a bolt with a head", "worst: a bolt with mirth", "only word", "naive prompt"]
    names = [trace.name for trace in figure.data]
    assert names == ["kept", "dropped", *marked] * 2
    to_word, to_image = ({trace.name: trace for trace in figure.data if trace.yaxis == axis} for axis in ("y", "y2"))
    assert [float(to_word[name].y[0]) for name in marked] == [0.8, 0.5, 1.0, 0.9]
    assert [float(to_image[name].y[0]) for name in marked] == [0.4, 0.1, 0.3, 0.5]
    assert [int(to_image[name].x[0]) for name in marked] == [2, 4, 3, 1]
    assert [len(to_word[name].x) for name in ("kept", "dropped")] == [1, 1]


def test_prompts_that_are_no_candidates_are_not_counted(tmp_path: Path) -> None:
    html = page(tmp_path, "fig8", full_table())
    assert '<td>bolt</td><td class="number">0</td><td class="number">2</td><td>a bolt with a head</td>' in html


def test_an_object_named_by_a_number_is_no_iteration(tmp_path: Path) -> None:
    table = prompt_rows().replace({"item": {"bolt": "01"}})
    assert "similarity over iterations" not in page(tmp_path, "fig8", table)


def test_bars_show_means_and_deviations() -> None:
    figure = figures.bars(lines(detector_table(), "image_auroc"), "image AUROC", ["bolt", "nut", ALL_CLASSES])
    generated = figure.data[3]
    assert generated.name == "generated"
    assert list(generated.y) == pytest.approx([0.88, 0.85, 0.865])
    assert list(generated.error_y.array) == pytest.approx([0.0283, 0.0707, 0.0212], abs=1e-4)
    assert generated.marker.color == COLOURS[3]


def test_curves_by_shots_end_with_all() -> None:
    few, all_of_them = detector_table(), detector_table()
    all_of_them["shots"] = 0
    figure = figures.by_shots(lines(pd.concat([few, all_of_them]), "image_auroc"), "image AUROC")
    assert list(figure.data[0].x) == ["1", "all"]


def test_texts() -> None:
    assert [shots_text(shots) for shots in (1, 5, 0)] == ["1 shot", "5 shots", "all shots"]
    assert spread_text(None) == "-"
    assert spread_text(Spread(n=1, mean=0.5, sd=None)) == "0.500"
