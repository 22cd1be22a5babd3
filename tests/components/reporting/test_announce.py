"""The notice of a finished run, from the artifacts of registration and evaluation."""

from pathlib import Path

import pytest

from components.artifacts import CONFIG, RECORDS, SUMMARY, write_json
from components.metrics.records import Record
from components.reporting.announce import finished_notice
from components.reporting.sources import Sources


@pytest.mark.parametrize(("auroc", "shown"), [(0.91254, " with image AUROC 0.9125"), (None, "")])
def test_best_detector_its_figure_and_the_gate_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, auroc: float | None, shown: str
) -> None:
    best, predictions = tmp_path / "best", tmp_path / "predictions"
    best.mkdir()
    predictions.mkdir()
    write_json(best / CONFIG, {"config": {"detector": "patchcore", "training_set": "generated"}})
    summary = {"best": "patchcore/generated", "model_version": "4", "gate": "promoted", "gate_reasons": "better"}
    write_json(best / SUMMARY, summary)
    records = [
        Record(detector="patchcore", training_set=name, seed=0, image_auroc=value)
        for name, value in (("none", 0.1), ("generated", auroc))
    ]
    write_json(predictions / RECORDS, [record.to_json() for record in records])
    monkeypatch.setenv("VIGIL_KFP_UI", "https://kubeflow.example/pipeline")
    monkeypatch.setenv("VIGIL_RUN_ID", "r1")
    unread = tmp_path / "unread"
    sources = Sources(unread, unread, unread, unread, unread, unread, predictions, best)
    notice = finished_notice(sources, "bolts", "r1", {})
    assert notice.text == f"patchcore/generated{shown}; version 4, gate: promoted"
    assert notice.link == "https://kubeflow.example/pipeline/#/runs/details/r1"
    assert (notice.event, notice.facts["gate_reasons"]) == ("finished", "better")
    later = finished_notice(sources, "bolts", "r1", {"model_version": "", "gate": "unregistered", "gate_reasons": ""})
    assert later.text.endswith("; not registered, gate: unregistered")
