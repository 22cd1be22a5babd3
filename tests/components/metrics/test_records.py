"""The gain of the generated set and the best detector of a run."""

import re
from dataclasses import replace

import pytest

from components.errors import InputError
from components.metrics.records import Record, best_record, extra_metrics, flat_metrics, gain


def _record(training_set: str, auroc: float | None, detector: str = "patchcore", aupro: float | None = None) -> Record:
    return Record(detector=detector, training_set=training_set, seed=0, image_auroc=auroc, aupro=aupro)


def test_gain_is_measured_against_the_best_other_set() -> None:
    records = [_record("none", 0.80), _record("rotations", 0.85), _record("generated", 0.90)]

    assert gain(records, "patchcore", "image_auroc") == pytest.approx(0.05)


def test_gain_can_be_negative() -> None:
    records = [_record("none", 0.95), _record("generated", 0.90)]

    assert gain(records, "patchcore", "image_auroc") == pytest.approx(-0.05)


def test_gain_looks_at_one_detector_only() -> None:
    records = [
        _record("none", 0.8),
        _record("generated", 0.9),
        _record("none", 0.99, detector="padim"),
    ]

    assert gain(records, "patchcore", "image_auroc") == pytest.approx(0.1)
    assert gain(records, "padim", "image_auroc") is None


@pytest.mark.parametrize(
    "records",
    [
        [],
        [_record("generated", 0.9)],
        [_record("none", 0.9), _record("augmented", 0.8)],
        [_record("none", None), _record("generated", 0.9)],
        [_record("none", 0.9), _record("generated", None)],
    ],
)
def test_gain_needs_both_sides_measured(records: list[Record]) -> None:
    assert gain(records, "patchcore", "image_auroc") is None


def test_best_record_has_the_highest_metric() -> None:
    records = [_record("none", 0.8), _record("generated", 0.9), _record("rotations", 0.85)]

    assert best_record(records, "image_auroc", 0.0) == records[1]


def test_generated_set_must_win_by_the_gain() -> None:
    records = [_record("none", 0.80), _record("rotations", 0.88), _record("generated", 0.90)]

    assert best_record(records, "image_auroc", 0.01).training_set == "generated"
    assert best_record(records, "image_auroc", 0.05).training_set == "rotations"


def test_tie_goes_to_the_given_images() -> None:
    records = [_record("generated", 0.9), _record("none", 0.9)]

    assert best_record(records, "image_auroc", 0.0).training_set == "none"


def test_other_sets_need_no_gain() -> None:
    records = [_record("none", 0.80), _record("rotations", 0.81)]

    assert best_record(records, "image_auroc", 0.5).training_set == "rotations"


def test_generated_set_alone_is_the_best() -> None:
    assert best_record([_record("generated", 0.4)], "image_auroc", 0.5).training_set == "generated"


def test_records_without_the_metric_are_left_aside() -> None:
    records = [_record("none", 0.99), _record("rotations", 0.7, aupro=0.6)]

    assert best_record(records, "aupro", 0.0).training_set == "rotations"


def test_metric_that_nothing_has_is_named() -> None:
    with pytest.raises(InputError, match=r"registration\.metric: got 'aupro', which needs masks"):
        best_record([_record("none", 0.9)], "aupro", 0.0)


def test_trial_name() -> None:
    assert _record("none", 0.9).trial == "patchcore/none"


def test_metric_of_kinds_needs_both_kinds() -> None:
    with pytest.raises(InputError, match=r"registration\.metric: .* needs logical and structural anomalies"):
        best_record([_record("none", 0.9)], "image_auroc_kind_mean", 0.0)


def test_extra_metrics_are_those_that_any_record_holds() -> None:
    measured = replace(_record("none", 0.9), spro_logical=0.2, image_auroc_logical=0.7)

    assert extra_metrics([_record("augmented", 0.9), measured]) == ["image_auroc_logical", "spro_logical"]
    assert extra_metrics([_record("none", 0.9)]) == []


def test_json_holds_every_field_and_is_read_back() -> None:
    record = _record("none", 0.9)
    content = record.to_json()

    assert (content["image_auroc"], content["aupro"], content["images_per_second"]) == (0.9, None, None)
    assert Record.from_json(content) == record
    assert Record.from_json({"detector": "patchcore", "training_set": "none", "seed": 0, "image_auroc": 0.9}) == record


def test_metric_is_found_by_its_name() -> None:
    assert _record("none", 0.9).metric("image_auroc") == 0.9
    assert _record("none", 0.9).metric("aupro") is None
    with pytest.raises(KeyError, match="seed"):
        _record("none", 0.9).metric("seed")


@pytest.mark.parametrize(
    ("changed", "message"), [({"auroc": 0.9}, r"unknown keys \['auroc'\]"), ({"seed": None}, "missing keys")]
)
def test_json_with_other_keys_is_refused(changed: dict[str, float | None], message: str) -> None:
    content = {**_record("none", 0.9).to_json(), **changed}
    if "seed" in changed:
        del content["seed"]

    with pytest.raises(InputError, match=message):
        Record.from_json(content)


def test_flat_metrics_are_those_that_were_measured() -> None:
    assert flat_metrics([_record("none", 0.9, aupro=0.5)]) == {
        "patchcore.none.image_auroc": 0.9,
        "patchcore.none.aupro": 0.5,
    }


def test_names_of_joined_sets_are_ones_that_mlflow_takes() -> None:
    (name,) = flat_metrics([_record("rotations+generated", 0.9)])
    assert name == "patchcore.rotations-generated.image_auroc"
    assert re.fullmatch(r"[\w./ -]+", name)
