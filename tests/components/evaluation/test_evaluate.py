"""Evaluation writes what the detectors do at their thresholds."""

from pathlib import Path

import numpy as np
from safetensors.torch import load_file

from components.artifacts import RECALL, WEIGHTS, read_table
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import Recall, defect_recall, evaluate_detectors
from tests.components.image_sets import write_reference


def test_record_has_the_rates_at_the_detectors_threshold(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference")
    train_detector(reference, reference, reference, tmp_path / "detector", Config())
    (record,) = evaluate_detectors(reference, [tmp_path / "detector"], tmp_path / "predictions", EvaluationConfig())
    assert record.threshold == Detector(tmp_path / "detector").threshold.value
    assert record.recall == 1.0
    assert record.bank_patches == len(load_file(tmp_path / "detector" / WEIGHTS)["bank.patches"])
    assert 0 <= (record.false_alarm_rate or 0) < 1
    assert min(record.latency_ms or 0, record.images_per_second or 0) > 0
    (row,) = read_table(tmp_path / "predictions" / RECALL).to_dict("records")
    assert (row["defect"], row["images"], row["recall"]) == ("hole", 4, 1.0)


def test_recall_counts_each_defect_type_alone() -> None:
    scores = np.array([9.0, 2.0, 3.0, 2.0], dtype=np.float32)
    labels = np.array([False, True, True, True])
    found = defect_recall(scores, labels, ["", "hole", "hole", "stain"], 2.0)
    assert found == {"hole": Recall(images=2, recall=0.5), "stain": Recall(images=1, recall=0.0)}
