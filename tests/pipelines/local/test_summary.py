"""The closing table shows what was measured."""

from components.metrics.records import Record
from pipelines.local.summary import comparison_table


def _record(**figures: float) -> Record:
    rates = {"false_alarm_rate": 0.1, "recall": 0.5, "latency_ms": 7.0}
    return Record(detector="patchcore", training_set="none", seed=0, **rates, **figures)


def _columns(*records: Record) -> dict[str, list[str]]:
    return {str(column.header): [str(cell) for cell in column.cells] for column in comparison_table(records).columns}


def test_kinds_are_columns_where_any_detector_has_them() -> None:
    columns = _columns(_record(spro_logical=0.25), _record(image_auroc_kind_mean=0.75))

    assert columns["sPRO, logical"] == ["0.2500", "-"]
    assert columns["image AUROC, mean of kinds"] == ["-", "0.7500"]
    assert "sPRO, structural" not in columns
    assert columns["recall"] == ["50.0%", "50.0%"]


def test_other_lines_have_the_usual_columns() -> None:
    assert not any("kinds" in head or "sPRO" in head for head in _columns(_record(image_auroc=0.9)))
