"""MVTec LOCO AD and BTAD from their class folders to the records, kinds of anomalies apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score

from components.artifacts import ANOMALY_MAPS, EVALUATION, PREDICTIONS, RECORDS, ImageSet, read_json, read_table
from components.dataset.config import Config as IngestionConfig
from components.dataset.ingest import ingest_dataset
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.evaluation.config import Config
from components.evaluation.evaluate import evaluate_detectors
from components.metrics.measures import by_kind, image_metrics
from components.metrics.records import KIND_METRICS, PIXEL_METRICS, SPRO_METRICS, Record, flat_metrics
from tests.components.image_sets import SIZE
from tests.components.published import BTAD_SUFFIXES, write_btad_class, write_loco_class


def _evaluated(root: Path, work: Path, layout: str, **settings: Any) -> tuple[dict[str, Any], Record]:
    """Counts of the reference set, and the record of a detector that was trained on two shots of it."""
    reference, detector = work / "reference", work / "detector"
    config = IngestionConfig(uri=str(root), layout=layout, shots=2, image_size=SIZE)
    counts = ingest_dataset(reference, config)
    train_detector(reference, reference, reference, detector, DetectorConfig())
    (record,) = evaluate_detectors(reference, [detector], work / "predictions", Config(**settings))
    return counts, record


@pytest.mark.parametrize("name", BTAD_SUFFIXES)
def test_btad_class_is_read_in_its_image_formats_and_measured(tmp_path: Path, name: str) -> None:
    counts, record = _evaluated(write_btad_class(tmp_path / "BTAD", name), tmp_path, "btad")

    assert {key: counts[key] for key in ("train_good", "test_good", "test_bad", "masks")} == {
        "train_good": 2,
        "test_good": 3,
        "test_bad": 3,
        "masks": 3,
    }
    assert record.metrics["image_auroc"] == 1.0
    assert record.metrics["pixel_auroc"] > 0.9
    assert all(record.metric(key) is None for key in (*KIND_METRICS, *PIXEL_METRICS, *SPRO_METRICS))


def test_formats_of_btad_hold_the_same_pixels(tmp_path: Path) -> None:
    sets = []
    for name in BTAD_SUFFIXES:
        root = write_btad_class(tmp_path / "BTAD", name)
        ingest_dataset(tmp_path / name, IngestionConfig(uri=str(root), layout="btad", image_size=SIZE))
        sets.append(ImageSet(tmp_path / name))

    for id in sets[0].ids("test"):
        pixels = [images.image(id) for images in sets]
        masks = [np.asarray(images.mask(id)) for images in sets]
        assert all(np.array_equal(pixels[0], other) for other in pixels)
        assert all(np.array_equal(masks[0], other) for other in masks)


@pytest.fixture(scope="module")
def loco(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Record]:
    """Folder of an evaluated LOCO class, and its record."""
    work = tmp_path_factory.mktemp("loco")
    _, record = _evaluated(write_loco_class(work / "screw_bag"), work, "loco", spro_limit=0.05)
    return work, record


def test_logical_and_structural_anomalies_are_measured_apart(loco: tuple[Path, Record]) -> None:
    work, record = loco
    metrics = record.metrics
    scores = read_table(work / "predictions" / PREDICTIONS)
    for kind in ("logical", "structural"):
        own = scores[scores["id"].str.contains(f"good|{kind}_anomalies")]
        assert len(own) == 7
        expected = image_metrics(own["score"].to_numpy(), ~own["id"].str.contains("good").to_numpy())["image_auroc"]
        assert record.metrics[f"image_auroc_{kind}"] == pytest.approx(expected)
    assert metrics["image_auroc_kind_mean"] == (metrics["image_auroc_logical"] + metrics["image_auroc_structural"]) / 2
    assert record.metrics["image_auroc_structural"] == 1.0
    by_defect = read_json(work / "predictions" / EVALUATION)["defect_auroc"]["patchcore/none"]
    assert by_defect["logical_anomalies"] == record.metrics["image_auroc_logical"]


def test_pixels_are_measured_by_kind(loco: tuple[Path, Record]) -> None:
    work, record = loco
    images = ImageSet(work / "reference")
    maps = load_file(work / "predictions" / ANOMALY_MAPS)["patchcore/none"].float()
    for kind in ("logical", "structural"):
        chosen = [index for index, id in enumerate(images.ids("test")) if "good" in id or kind in id]
        marked = [images.mask(images.ids("test")[index]) for index in chosen]
        masks = np.stack([np.zeros((SIZE, SIZE), dtype=bool) if mask is None else mask for mask in marked])
        expected = roc_auc_score(masks.ravel(), maps[chosen].numpy().ravel())
        assert record.metrics[f"pixel_auroc_{kind}"] == pytest.approx(expected, abs=1e-3)


def test_overlap_saturates_by_kind(loco: tuple[Path, Record]) -> None:
    metrics = loco[1].metrics
    assert all(0 < metrics[name] <= 1 for name in SPRO_METRICS)
    assert metrics["spro_kind_mean"] == pytest.approx((metrics["spro_logical"] + metrics["spro_structural"]) / 2)


def test_kinds_reach_the_records_and_mlflow(loco: tuple[Path, Record]) -> None:
    work, record = loco
    assert read_json(work / "predictions" / RECORDS) == [record.to_json()]
    flat = flat_metrics([record])
    assert flat["patchcore.none.image_auroc_logical"] == record.metrics["image_auroc_logical"]
    assert flat["patchcore.none.spro_kind_mean"] == record.metrics["spro_kind_mean"]


def test_overlap_is_left_out_unless_it_is_asked_for(loco: tuple[Path, Record]) -> None:
    work, asked = loco
    (record,) = evaluate_detectors(work / "reference", [work / "detector"], work / "again", Config())

    assert all(record.metric(name) is None for name in SPRO_METRICS)
    assert record.metrics["image_auroc_logical"] == asked.metrics["image_auroc_logical"]


def test_mean_of_the_kinds_needs_both() -> None:
    assert by_kind("spro", {"logical_anomalies": 0.5, "bent": 0.1}) == {
        "spro_logical": 0.5,
        "spro_structural": None,
        "spro_kind_mean": None,
    }
