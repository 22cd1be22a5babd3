import numpy as np
import pytest

from components.evaluation.metrics import image_metrics, pixel_metrics


def test_image_metrics_of_known_scores() -> None:
    scores = np.array([10.0, 20.0, 30.0, 40.0], dtype=np.float32)
    labels = np.array([False, True, False, True])
    metrics = image_metrics(scores, labels)
    assert metrics["image_auroc"] == pytest.approx(0.75)
    assert metrics["image_ap"] == pytest.approx((1.0 + 2 / 3) / 2)
    assert metrics["image_f1_max"] == pytest.approx(0.8)


def test_raw_scores_of_any_scale_give_the_same_auroc() -> None:
    scores = np.random.default_rng(0).normal(size=50).astype(np.float32)
    labels = scores + np.random.default_rng(1).normal(size=50) > 0
    assert image_metrics(scores, labels) == image_metrics(scores * 1000 + 5000, labels)


def test_perfect_maps_have_perfect_pixel_metrics() -> None:
    masks = np.zeros((2, 16, 16), dtype=bool)
    masks[0, 4:8, 4:8] = True
    metrics = pixel_metrics(masks.astype(np.float32) * 7, masks, 0.3)
    assert metrics == pytest.approx({"pixel_auroc": 1.0, "aupro": 1.0}, abs=1e-6)


def test_aupro_weighs_regions_equally_and_pixel_auroc_does_not() -> None:
    """A large region is found, a small one is missed."""
    masks = np.zeros((1, 20, 20), dtype=bool)
    masks[0, :10, :10] = True
    masks[0, 15:17, 15:17] = True
    maps = np.zeros((1, 20, 20), dtype=np.float32)
    maps[0, :10, :10] = 1
    metrics = pixel_metrics(maps, masks, 0.3)
    found = 100 / 104
    assert metrics["pixel_auroc"] == pytest.approx(found + (1 - found) / 2)
    # Above the regions' threshold the overlap is a half; from there it rises linearly to 1 at a rate of 1.
    assert metrics["aupro"] == pytest.approx(0.5 + 0.5 * 0.3 / 2, abs=1e-6)


def test_aupro_limit_is_the_end_of_the_integral() -> None:
    masks = np.zeros((1, 10, 10), dtype=bool)
    masks[0, 0, 0] = True
    maps = np.linspace(0, 1, 100, dtype=np.float32).reshape(1, 10, 10)
    assert pixel_metrics(maps, masks, 0.3)["aupro"] == pytest.approx(0.0, abs=1e-6)
