"""Raw scores, maps, thresholds and metrics of detectors on real backbone weights.

Tolerances. A processor with other vector units, or another number of threads, rounds features otherwise, by 1e-6, and
scores differ by 1e-5; PaDiM's by ten times as much, as it inverts a covariance, and so does a threshold, which goes
on from the spread of two scores. The few steps of CFlow differ no more than that.
"""

from pathlib import Path
from typing import Any

import pytest

from components.artifacts import ImageSet
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import Detector
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from tests.components.image_sets import write_added, write_reference
from tests.golden_numbers.golden import Golden, Tolerance

DETECTORS = {
    "patchcore": DetectorConfig(detector="patchcore", training_set="generated", coreset_ratio=0.3),
    "cflow": DetectorConfig(detector="cflow", cflow_steps=10),
    "padim": DetectorConfig(detector="padim", training_set="generated"),
}
METRICS = ("image_auroc", "pixel_auroc", "aupro", "image_ap", "image_f1_max", "false_alarm_rate", "recall")

SCORES = Tolerance(relative=1e-3)
AREAS = Tolerance(absolute=1e-4)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an image set and the detectors that were trained on it."""
    root = tmp_path_factory.mktemp("trained")
    reference = write_reference(root / "reference", given=2, good=2, bad=2)
    added = write_added(root / "added", 2, ["train-good-0", "train-good-1"])
    for name, config in DETECTORS.items():
        train_detector(reference, added, added, root / name, config)
    return root


def measured(root: Path, name: str) -> dict[str, Any]:
    images = ImageSet(root / "reference")
    detector = Detector(root / name)
    scores, maps = detector.predict(images.tensor(images.ids("test")))
    threshold = {
        "value": detector.threshold.value,
        "source": detector.threshold.source,
        "rule": detector.threshold.rule,
    }
    return {"scores": scores.tolist(), "map_means": maps.mean(dim=(1, 2)).tolist(), "threshold": threshold}


@pytest.mark.parametrize("name", DETECTORS)
def test_scores_and_threshold(name: str, trained: Path, golden: Golden) -> None:
    golden.check(f"detector_{name}", measured(trained, name), SCORES)


def test_evaluation(trained: Path, golden: Golden) -> None:
    config = EvaluationConfig(latency_images=1)
    paths = [trained / name for name in DETECTORS]
    records = evaluate_detectors(trained / "reference", paths, trained / "predictions", config)
    found = {record.detector: {name: record.metric(name) for name in METRICS} for record in records}
    golden.check("evaluation", found, AREAS)
