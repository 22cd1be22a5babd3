"""ROC curve and confusion for Kubeflow's page, read back as the launcher does: strict JSON."""

import json
from pathlib import Path

import pytest
from kfp.dsl import ClassificationMetrics

from components.artifacts import PREDICTIONS, RECORDS, ImageSet, write_json, write_table
from components.evaluation.classification import confusion, roc_points, show_classification
from components.metrics.records import Record
from tests.components.image_sets import write_reference


def test_known_curve_has_finite_thresholds() -> None:
    false_positive, true_positive, thresholds = roc_points([False, False, True, True], [0.1, 0.4, 0.35, 0.8])
    assert (false_positive[0], true_positive[0]) == (0, 0)
    assert (false_positive[-1], true_positive[-1]) == (1, 1)
    assert thresholds[0] > 0.8
    json.dumps(thresholds, allow_nan=False)


def test_many_points_are_thinned_to_two_hundred_with_both_ends() -> None:
    bad = [index % 3 == 0 for index in range(3000)]
    false_positive, true_positive, _ = roc_points(bad, [float((index * 7919) % 3001) for index in range(3000)])
    assert len(false_positive) == 200
    assert (false_positive[0], true_positive[0], false_positive[-1], true_positive[-1]) == (0, 0, 1, 1)


def test_confusion_counts_above_the_threshold() -> None:
    assert confusion([False, False, True, True], [0.1, 0.6, 0.5, 0.9], 0.5) == [[1, 1], [1, 1]]


@pytest.mark.parametrize(("bad", "auroc"), [(2, 0.5), (0, None)])
def test_line_without_defects_has_no_curve(tmp_path: Path, bad: int, auroc: float | None) -> None:
    reference = write_reference(tmp_path / "reference", bad=bad)
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    ids = ImageSet(reference).ids("test")
    identity = {"detector": "patchcore", "training_set": "none", "seed": 0}
    write_table(predictions / PREDICTIONS, [identity | {"id": id, "score": index} for index, id in enumerate(ids)])
    record = Record(detector="patchcore", training_set="none", seed=0, image_auroc=auroc, threshold=0.5)
    write_json(predictions / RECORDS, [record.to_json()])
    shown = ClassificationMetrics(name="classification", uri=str(tmp_path / "classification"))
    show_classification(reference, predictions, shown)
    assert ("confidenceMetrics" in shown.metadata) == bool(bad)
    rows = [row["row"] for row in shown.metadata["confusionMatrix"]["rows"]]
    assert sum(map(sum, rows)) == len(ids)
    assert sum(rows[1]) == bad
    json.dumps(shown.metadata, allow_nan=False)
    assert json.loads(Path(shown.path).read_text(encoding="utf-8"))["trial"] == "patchcore/none"
