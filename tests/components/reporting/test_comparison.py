"""The report's table of the detectors."""

from components.metrics.records import METRICS, Record
from components.reporting.report import comparison


def _record(**figures: float) -> Record:
    return Record(detector="patchcore", training_set="none", seed=0, image_auroc=0.9, **figures)


def test_columns_of_kinds_are_shown_where_they_were_measured() -> None:
    shown = comparison([_record(), _record(image_auroc_logical=0.6)], "patchcore/none")

    assert [name for name, _ in shown["metrics"]] == [*METRICS, "image_auroc_logical"]
    assert shown["metrics"][-1][1] == "image AUROC, logical"
    assert (shown["by_kind"], shown["saturated"]) == (True, False)


def test_saturated_overlap_is_explained_where_it_was_measured() -> None:
    assert comparison([_record(spro_structural=0.6)], "patchcore/none")["saturated"]


def test_other_lines_have_no_such_columns() -> None:
    shown = comparison([_record()], "patchcore/none")

    assert [name for name, _ in shown["metrics"]] == list(METRICS)
    assert not shown["by_kind"]
