"""A run whose test split has good images only, or none: what is not measured is null, and proxies are named."""

from pathlib import Path

import pytest
from safetensors.torch import save_file

from components.artifacts import (
    CHOICE,
    CONFIG,
    PROXY,
    SUMMARY,
    VALIDATION,
    VALIDATION_MAPS,
    ImageSet,
    read_json,
    read_table,
    write_json,
    write_table,
)
from components.defect_synthesis.config import Config as DefectSynthesisConfig
from components.defect_synthesis.synthesise import synthesise_defects
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import Detector
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from components.metrics.records import Record
from components.registration.config import Config
from components.registration.register import register_best
from components.reporting.report import comparison, given_against_held_out
from components.reporting.sources import Sources, roc_curves, synthetic_defects, worst_errors
from components.stage.run import stage
from tests.components.image_sets import write_reference


def write_held_out(detector: Path, reference: Path, synthetic: Path) -> None:
    """Scores of the given images, and of the synthetic defects on them, with all maps."""
    given, drawn, model = ImageSet(reference), ImageSet(synthetic), Detector(detector)
    rows = [{"id": id, "source": id, "kind": "good", "family": ""} for id in given.ids("train")]
    scores = model.predict(given.tensor(given.ids("train")))[0].tolist()
    ids = drawn.ids("test")
    found, maps = model.predict(drawn.tensor(ids))
    rows += [
        {"id": row["id"], "source": row["source"], "kind": "synthetic", "family": row["defect"]}
        for row in drawn.manifest.to_dict("records")
    ]
    scored = zip(rows, [*scores, *found.tolist()], strict=True)
    write_table(detector / VALIDATION, [row | {"fold": 0, "score": score} for row, score in scored])
    save_file({id: map.half().contiguous() for id, map in zip(ids, maps, strict=True)}, detector / VALIDATION_MAPS)


@pytest.fixture(scope="module", params=[3, 0], ids=["good", "none"])
def sources(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Sources:
    root, test_images = tmp_path_factory.mktemp("run"), request.param
    reference = write_reference(root / "reference", good=test_images, bad=0)
    synthesise_defects(reference, root / "synthetic", DefectSynthesisConfig(families=("blot", "cut_paste")))
    train_detector(reference, reference, reference, root / "detector", DetectorConfig())
    write_held_out(root / "detector", reference, root / "synthetic")
    records = evaluate_detectors(
        reference, [root / "detector"], root / "predictions", EvaluationConfig(latency_images=1)
    )
    assert_records(records, test_images)
    with stage("registration", "bolts") as run:
        config = Config(min_proxy_image_auroc=0.5)
        arguments = (reference, [root / "detector"], root / "predictions", root / "best", config, run.tracker)
        write_json(root / "best" / SUMMARY, register_best("bolts", *arguments))
    nothing = root / "nothing"
    return Sources(*[reference, *[nothing] * 4, root / "synthetic", root / "predictions", root / "best"])


def assert_records(records: list[Record], test_images: int) -> None:
    (record,) = records
    tested = ("image_auroc", "image_ap", "image_f1_max", "pixel_auroc", "aupro", "recall")
    assert [record.metric(name) for name in tested] == [None] * len(tested)
    assert (record.false_alarm_rate is None) == (test_images == 0)
    assert record.proxy_image_auroc is not None
    assert record.proxy_image_auroc > 0.6
    assert record.validation_images == 2
    assert record.latency_ms is not None


def test_detector_is_registered_by_its_proxy(sources: Sources) -> None:
    result, choice = (read_json(Path(sources.best) / name) for name in (SUMMARY, CHOICE))
    assert (result["best"], result["chosen_by"], result["gate"]) == ("patchcore/none", "proxy", "unregistered")
    assert "image_auroc" not in result
    assert "regret" not in result
    assert result["proxy_image_auroc"] == choice["candidates"][0]["proxy_image_auroc"]


def test_families_are_reported_apart(sources: Sources) -> None:
    table = read_table(Path(sources.predictions) / PROXY)
    assert sorted(table["family"]) == ["blot", "cut_paste"]
    threshold = read_json(Path(sources.best) / CONFIG)["threshold"]["value"]
    held_out = read_table(Path(sources.best) / VALIDATION)
    own = held_out[held_out["family"] == "blot"]["score"]
    assert table.set_index("family").loc["blot", "recall"] == pytest.approx((own > threshold).mean())


def test_pictures_are_those_that_there_are(sources: Sources) -> None:
    assert roc_curves(sources) == {}
    errors = worst_errors(sources)
    assert errors["bad"] == []
    assert len(errors["good"]) == len(ImageSet(sources.reference).ids("test"))
    tiles = synthetic_defects(sources)
    assert sorted(tile["title"] for tile in tiles) == ["blot"] * 2 + ["cut_paste"] * 2


def test_drift_within_the_run_is_unknown_without_held_out_images(sources: Sources) -> None:
    hint = given_against_held_out(sources)
    held_out = ImageSet(sources.reference).ids("test")
    assert hint.retrain == "unknown"
    assert hint.reference_images == len(held_out)


def test_table_has_no_column_of_what_needs_defects() -> None:
    shown = comparison([Record(detector="padim", training_set="none", seed=0, proxy_image_auroc=0.9)], "padim/none")
    assert (shown["metrics"], shown["tested"], shown["validated"]) == ([], False, True)
