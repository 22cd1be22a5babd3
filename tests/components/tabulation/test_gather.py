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
    write_json,
    write_table,
)
from components.metrics.records import EXTRA_HEADS, METRICS
from components.tabulation.gather import gather, merge, read_results
from tests.components.image_sets import write_added


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
