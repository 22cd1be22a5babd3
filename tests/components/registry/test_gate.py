"""The champion's rule on known measurements."""

import json
from typing import Any

import pytest

from components.errors import InputError
from components.metrics.records import Record
from components.registry.gate import (
    FIRST,
    PROMOTED,
    REFUSED,
    UNREGISTERED,
    Decision,
    GateLimits,
    Measurement,
    decide,
)


def measurement(auroc: float = 0.9, **changed: Any) -> Measurement:
    record = Record(detector="patchcore", training_set="none", seed=0, image_auroc=auroc, latency_ms=20.0)
    defects = {"hole": 0.9, "scratch": 0.8}
    return Measurement(**{"digest": "d", "record": record, "defect_auroc": defects, "model_mb": 2.0, **changed})


def against(champion: Measurement | None, challenger: Measurement, **limits: Any) -> Decision:
    return decide(GateLimits(**limits), "bolts", ("2", challenger), None if champion is None else ("1", champion))


def failed(decision: Decision) -> list[str]:
    return [criterion.name for criterion in decision.criteria if not criterion.held]


def test_better_challenger_is_promoted_and_every_criterion_listed() -> None:
    decision = against(measurement(0.9), measurement(0.95))
    assert decision.gate == PROMOTED
    assert {row.name: (row.champion, row.challenger, row.held) for row in decision.criteria} == {
        "min_metric": (0.9, 0.95, True),
        "max_latency_ms": (20.0, 20.0, True),
        "max_model_mb": (2.0, 2.0, True),
        "export_parity": (None, None, True),
        "min_champion_gain": (0.9, 0.95, True),
        "max_defect_drop[hole]": (0.9, 0.9, True),
        "max_defect_drop[scratch]": (0.8, 0.8, True),
    }
    assert decision.reasons == "all 7 criteria hold, champion version 1 (patchcore/none)"


@pytest.mark.parametrize(
    ("challenger", "limit", "gate"),
    [
        (0.90, 0.0, REFUSED),
        (0.9001, 0.0, PROMOTED),
        (0.95, 0.05, PROMOTED),
        (0.9499, 0.05, REFUSED),
        (0.89, -0.01, PROMOTED),
        (0.90, -0.01, PROMOTED),
        (0.88, -0.01, REFUSED),
    ],
)
def test_gain_over_the_champion(challenger: float, limit: float, gate: str) -> None:
    decision = against(measurement(0.9), measurement(challenger), min_champion_gain=limit)
    assert decision.gate == gate
    assert failed(decision) == ([] if gate == PROMOTED else ["min_champion_gain"])


@pytest.mark.parametrize(("drop", "names"), [(0.1, []), (0.1001, ["max_defect_drop[scratch]"])])
def test_no_defect_type_may_fall(drop: float, names: list[str]) -> None:
    defects = {"hole": 1.0, "scratch": 0.8 - drop}
    decision = against(measurement(0.9), measurement(0.99, defect_auroc=defects), max_defect_drop=0.1)
    assert failed(decision) == names


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        ({"min_metric": 0.96}, "min_metric"),
        ({"max_latency_ms": 19.9}, "max_latency_ms"),
        ({"max_model_mb": 1.9}, "max_model_mb"),
    ],
)
@pytest.mark.parametrize("champion", [None, measurement(0.9)])
def test_absolute_limits_hold_with_and_without_a_champion(
    limits: dict[str, float], name: str, champion: Measurement | None
) -> None:
    decision = against(champion, measurement(0.95), **limits)
    assert (decision.gate, failed(decision)) == (REFUSED, [name])
    assert name in decision.reasons


def test_limits_themselves_are_allowed() -> None:
    decision = against(measurement(0.9), measurement(0.95), min_metric=0.95, max_latency_ms=20.0, max_model_mb=2.0)
    assert decision.gate == PROMOTED


@pytest.mark.parametrize(("parity", "gate"), [(None, PROMOTED), (True, PROMOTED), (False, REFUSED)])
def test_export_must_score_as_the_detector(parity: bool | None, gate: str) -> None:
    decision = against(measurement(0.9), measurement(0.95, parity=parity))
    assert decision.gate == gate
    assert failed(decision) == ([] if gate == PROMOTED else ["export_parity"])


def test_first_version_needs_no_gain() -> None:
    decision = against(None, measurement(0.5), min_champion_gain=0.2)
    assert (decision.gate, decision.champion) == (FIRST, "")
    assert decision.reasons.endswith("no champion yet")


def test_without_mlflow_nothing_is_promoted() -> None:
    decision = decide(GateLimits(), "bolts", ("", measurement()), None)
    assert decision.gate == UNREGISTERED
    assert "no champion is known: MLflow is off or does not answer" in decision.to_markdown()
    assert decide(GateLimits(min_metric=0.99), "bolts", ("", measurement()), None).gate == REFUSED


def test_figures_of_different_test_splits_are_never_compared() -> None:
    with pytest.raises(ValueError, match="got digest other, expected the challenger's, d"):
        against(measurement(digest="other"), measurement())


def test_decision_is_readable() -> None:
    decision = against(measurement(0.9), measurement(0.85), min_champion_gain=0.01)
    assert decision.reasons == ("min_champion_gain: 0.85, champion 0.9, wanted a gain in image_auroc of at least 0.01")
    page = decision.to_markdown()
    assert "# bolts: refused" in page
    assert "| min_champion_gain | a gain in image_auroc of at least 0.01 | 0.9 | 0.85 | NO |" in page
    content = json.loads(json.dumps(decision.to_content()))
    assert content["criteria"][4] == {
        "name": "min_champion_gain",
        "limit": "a gain in image_auroc of at least 0.01",
        "champion": 0.9,
        "challenger": 0.85,
        "held": False,
    }


def test_measurement_survives_its_tag() -> None:
    kept = measurement(parity=False)
    assert Measurement.of(json.loads(kept.to_json())) == kept


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("metric", "accuracy"),
        ("min_metric", 1.1),
        ("min_champion_gain", -1.1),
        ("max_defect_drop", -0.1),
        ("max_latency_ms", -1.0),
        ("max_model_mb", -1.0),
    ],
)
def test_limits_name_field_and_value(field: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"registration\.{field}: got {value!r}, expected"):
        GateLimits(**{field: value})


def without_defects(proxy: float | None = 0.9, alarms: float | None = 0.1) -> Measurement:
    figures = {"proxy_image_auroc": proxy, "validation_false_alarm_rate": alarms}
    record = Record(detector="patchcore", training_set="none", seed=0, latency_ms=20.0, **figures)
    return measurement(record=record, defect_auroc={})


def test_line_without_defects_is_compared_by_the_proxy_and_says_so() -> None:
    better, worse = without_defects(0.95), without_defects(0.9)
    assert against(worse, better).gate == PROMOTED
    assert failed(against(better, worse)) == ["min_champion_gain"]
    assert "a gain in proxy_image_auroc above 0, each on its own held-out images" in against(better, worse).reasons
    limits = {row.name: row.limit for row in against(None, better).criteria}
    assert "not measured without bad test images: registration.min_proxy_image_auroc" in limits["min_metric"]


def test_limits_of_the_proxy_and_of_held_out_false_alarms() -> None:
    assert failed(against(None, without_defects(), min_proxy_image_auroc=0.91)) == ["min_proxy_image_auroc"]
    assert failed(against(None, without_defects(), max_validation_false_alarm_rate=0.05)) == [
        "max_validation_false_alarm_rate"
    ]
    held = against(None, without_defects(), min_proxy_image_auroc=0.9, max_validation_false_alarm_rate=0.1)
    assert failed(held) == []


def test_limit_of_a_figure_that_was_not_measured_does_not_hold() -> None:
    assert failed(against(None, without_defects(), min_metric=0.5)) == ["min_metric"]
    missing = against(None, measurement(0.9), min_proxy_image_auroc=0.5, max_validation_false_alarm_rate=0.5)
    assert failed(missing) == ["min_proxy_image_auroc", "max_validation_false_alarm_rate"]
