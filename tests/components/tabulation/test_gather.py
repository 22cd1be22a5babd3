from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from components.artifacts import (
    EVALUATION,
    PROMPTS,
    QUALITY,
    RECORDS,
    REFERENCE_PROMPTS,
    TREND,
    VALIDATION,
    read_table,
    write_json,
    write_table,
)
from components.metrics.records import EXTRA_HEADS, METRICS
from components.tabulation.gather import ANY, CHOSEN, FULL, WORST, gather, merge, read_results
from components.tabulation.page import write_page
from tests.components.image_sets import write_added
from tests.components.validations import write_validation


def label(kind: str, method: str = "", seed: int = 0) -> dict[str, Any]:
    return {"kind": kind, "class_name": "bolt", "shots": 1, "seed": seed, "method": method}


def gathered(tmp_path: Path, kind: str, path: Path, method: str = "") -> pd.DataFrame:
    gather([label(kind, method)], [path], tmp_path / "results")
    return read_results(tmp_path / "results")


def record(training_set: str, auroc: float) -> dict[str, Any]:
    values = {**dict.fromkeys(METRICS, auroc), **dict.fromkeys(EXTRA_HEADS), "latency_ms": 3.0}
    return {**values, "pixel_auroc": None, "detector": "patchcore", "training_set": training_set, "seed": 0}


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    path = tmp_path / "predictions"
    path.mkdir()
    write_json(path / RECORDS, [record("none", 0.5), {**record("generated", 0.75), "image_auroc_logical": 0.25}])
    aurocs = {"patchcore/none": {"hole": 0.5}, "patchcore/generated": {"hole": 1.0}}
    write_json(path / EVALUATION, {"defect_auroc": aurocs})
    return path


def test_training_sets_without_generated_images_are_methods_of_their_own(tmp_path: Path, predictions: Path) -> None:
    table = gathered(tmp_path, "predictions", predictions, "with text")
    whole = table[(table["measure"] == "image_auroc") & (table["item"] == "")]
    assert dict(zip(whole["method"], whole["value"], strict=True)) == {"none": 0.5, "with text": 0.75}


def test_a_variant_is_part_of_the_detectors_name(tmp_path: Path, predictions: Path) -> None:
    gather([label("full") | {"variant": "max, chosen shots"}], [predictions], tmp_path / "varied")
    table = read_results(tmp_path / "varied")
    assert (set(table["detector"]), set(table["method"])) == ({"patchcore, max, chosen shots"}, {FULL})


def test_defect_types_are_items(tmp_path: Path, predictions: Path) -> None:
    table = gathered(tmp_path, "predictions", predictions, "with text")
    hole = table[table["item"] == "hole"]
    assert dict(zip(hole["method"], hole["value"], strict=True)) == {"none": 0.5, "with text": 1.0}


def test_a_metric_that_needs_masks_has_the_reason_in_place_of_a_value(tmp_path: Path, predictions: Path) -> None:
    pixel = gathered(tmp_path, "predictions", predictions).query("measure == 'pixel_auroc'")
    assert pixel["value"].isna().all()
    assert set(pixel["note"]) == {"no test image has a mask"}


def test_metrics_of_loco_are_rows_only_where_they_were_measured(tmp_path: Path, predictions: Path) -> None:
    table = gathered(tmp_path, "predictions", predictions, "ours")
    kinds = table[table["measure"].isin(list(EXTRA_HEADS))]
    assert kinds[["method", "measure", "value"]].to_numpy().tolist() == [["ours", "image_auroc_logical", 0.25]]


def test_choice_is_judged_by_the_test_split(tmp_path: Path) -> None:
    path = tmp_path / "predictions"
    path.mkdir()
    tested = {"none": 0.75, "rotations": 0.5, "augmented": 1.0}
    proxies = {"none": 0.1, "rotations": 0.3, "augmented": 0.2}
    records = [record(name, value) | {"proxy_image_auroc": proxies[name]} for name, value in tested.items()]
    write_json(path / RECORDS, records)
    write_validations(path, {name: [[10 * proxies[name]] * 2] * 4 for name in tested}, [0.0, 1.5, 2.5, 3.5])
    table = gathered(tmp_path, "choice", path)
    regrets = table[table["measure"] == "regret"].set_index("method")["value"]
    assert table[table["measure"] == "chosen"]["item"].tolist() == ["rotations"]
    assert regrets[CHOSEN] == regrets[WORST] == regrets["rotations"] == 0.5
    assert (regrets["augmented"], regrets[ANY]) == (0, 0.25)
    assert table[table["measure"] == "rank_correlation"]["value"].item() == pytest.approx(-0.5)
    html = tmp_path / "page.html"
    write_page("proxy", table, {}, html, datetime(2026, 1, 2, tzinfo=UTC))
    sentence = "50.0 points of image AUROC below the best in the mean of 1, 50.0 at worst (bolt, seed 0)"
    assert sentence in html.read_text(encoding="utf-8")


def test_without_a_proxy_the_reason_stands_for_the_choice(tmp_path: Path, predictions: Path) -> None:
    write_validations(predictions, {"none": []}, [1.0])
    table = gathered(tmp_path, "choice", predictions)
    assert table[["measure", "method"]].to_numpy().tolist() == [["regret", CHOSEN]]
    assert "one given image validates nothing" in table["note"].item()


def write_validations(predictions: Path, synthetic: dict[str, list[list[float]]], good: list[float]) -> None:
    """Held-out scores of several training sets, as evaluation puts them together."""
    tables = []
    for name, scores in synthetic.items():
        table = read_table(write_validation(predictions / name, good, scores) / VALIDATION)
        tables.append(table.assign(detector="patchcore", training_set=name, seed=0))
    write_table(predictions / VALIDATION, pd.concat(tables))


def test_quality_keeps_the_reason_of_what_was_not_computed(tmp_path: Path) -> None:
    path = tmp_path / "quality"
    path.mkdir()
    figures = {"psnr": {"value": 20.0, "reason": None}, "fid": {"value": None, "reason": "no weights"}}
    write_json(path / QUALITY, figures)
    table = gathered(tmp_path, "quality", path, "ours").set_index("measure")
    assert table.loc["psnr", "value"] == 20.0
    assert table.loc["fid", "note"] == "no weights"


def test_trend_and_prompts_have_a_row_for_each_item(tmp_path: Path) -> None:
    trend, prompts = tmp_path / "trend", tmp_path / "prompts"
    trend.mkdir()
    prompts.mkdir()
    write_table(trend / TREND, [{"iteration": 0, "cosine": 0.1}, {"iteration": 1, "cosine": 0.2}])
    measures = {"l2": 1.2, "cosine": 0.3, "text_cosine": 0.7}
    write_table(prompts / PROMPTS, [{"prompt": "a bolt", "relation": "synonym", "kept": False, **measures}])
    kinds = {"best": "a bolt", "word": "bolt"}
    references = [{"kind": kind, "prompt": prompt, **measures} for kind, prompt in kinds.items()]
    write_table(prompts / REFERENCE_PROMPTS, references)
    assert gathered(tmp_path, "trend", trend)["item"].tolist() == ["0", "1"]
    table = gathered(tmp_path, "prompts", prompts)
    own = table[table["item"] == "a bolt"]
    assert dict(zip(own["measure"], own["value"], strict=True)) == measures
    assert set(own["note"]) == {"synonym, dropped"}
    assert set(table[table["item"] == "bolt"]["note"]) == {"only word"}


def test_pictures_are_contact_sheets_and_counted(tmp_path: Path) -> None:
    path = write_added(tmp_path / "images", 3, ["train-good-0"])
    table = gathered(tmp_path, "pictures", path).set_index("measure")
    assert str(table.loc["picture", "picture"]).startswith("data:image/jpeg;base64,")
    assert table.loc["images", "value"] == 3


def test_merged_parts_hold_the_rows_of_all(tmp_path: Path, predictions: Path) -> None:
    labels = [label("predictions", seed=seed) for seed in range(3)]
    counts = [gather([one], [predictions], tmp_path / f"part-{one['seed']}") for one in labels]
    assert merge([tmp_path / f"part-{seed}" for seed in range(3)], tmp_path / "all") == sum(counts)
    assert sorted(set(read_results(tmp_path / "all")["seed"])) == [0, 1, 2]
