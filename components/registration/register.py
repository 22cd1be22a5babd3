"""Registers the best detector of a run as a version of the line's model in MLflow, and promotes it by the gate."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.artifacts import (
    CONFIG,
    DECISION,
    DECISION_PAGE,
    EVALUATION,
    RECORDS,
    SUMMARY,
    UNSENT,
    ImageSet,
    new_directory,
    read_json,
    write_json,
)
from components.change.good_images import good_images
from components.detectors.detector import Detector
from components.metrics.records import Record, best_record, read_records
from components.metrics.scoring import TestSplit
from components.registration.config import Config
from components.registration.export import export_detector
from components.registry.gate import GateLimits
from components.registry.nomination import Nomination, measurement_of, nominate
from components.tracking.run import StageRun


def register_best(
    line: str,
    reference: str | Path,
    detectors: Sequence[str | Path],
    predictions: str | Path,
    best: str | Path,
    config: Config,
    tracker: StageRun,
) -> dict[str, Any]:
    """Copy the best detector to its own artifact, register it where MLflow is on, and decide on its promotion.

    The artifact also keeps what the good images looked like and scored, for later measurements of drift.

    Args:
        line: name of the registered model.
        reference: image set; its first given image is the input example, its test split measures the champion.
        detectors: artifacts of the run.
        predictions: artifact with the records.
        best: artifact to write, with the decision as JSON and as a page.
        config: settings.
        tracker: MLflow run of the stage.

    Returns:
        Which detector it is, its metric, the registered version (empty where MLflow does not answer), the parity and
        the speed of its export, if there is one, and the decision.
    """
    record = best_record(read_records(Path(predictions) / RECORDS), config.metric, config.min_gain)
    evaluation = read_json(Path(predictions) / EVALUATION)
    with tempfile.TemporaryDirectory() as folder:
        prepared, export = _prepare(find_detector(detectors, record), Path(folder), reference, config)
        split = {name: evaluation[name] for name in ("aupro_limit", "latency_images")}
        good_images(ImageSet(reference), Detector(prepared)).write(prepared)
        served = TestSplit(reference, **split).export_speed(prepared) if export else {}
        by_defect = evaluation["defect_auroc"][record.trial]
        nomination = Nomination(
            line=line,
            run_id=tracker.task.run_id,
            measurement=measurement_of(prepared, record.with_metrics(served), by_defect, evaluation["digest"]),
            limits=GateLimits.from_arguments(dict(config)),
            **split,
        )
        number, decision = nominate(nomination, reference, prepared, tracker)
        with new_directory(best) as directory:
            shutil.copytree(prepared, directory, dirs_exist_ok=True)
            nomination.write(directory)
            write_json(directory / DECISION, decision.to_content())
            (directory / DECISION_PAGE).write_text(decision.to_markdown(), encoding="utf-8")
    export |= {f"export.{name}": value for name, value in served.items()}
    result = {"best": record.trial, config.metric: record.metric(config.metric), "model_version": number, **export}
    return {**result, "gate": decision.gate, "gate_reasons": decision.reasons}


def _prepare(chosen: Path, folder: Path, reference: str | Path, config: Config) -> tuple[Path, dict[str, Any]]:
    """Copy of a detector with its export, whose parity is in the copy's summary; and the parity."""
    prepared = Path(shutil.copytree(chosen, folder / "detector", ignore=shutil.ignore_patterns(UNSENT)))
    parity = export_detector(prepared, reference, config)
    if parity:
        summary = read_json(prepared / SUMMARY) if (prepared / SUMMARY).is_file() else {}
        write_json(prepared / SUMMARY, {**summary, **parity})
    return prepared, parity


def find_detector(detectors: Sequence[str | Path], record: Record) -> Path:
    """Path of the detector that a record measures."""
    for path in map(Path, detectors):
        config = read_json(path / CONFIG)["config"]
        if (config["detector"], config["training_set"]) == (record.detector, record.training_set):
            return path
    raise ValueError(f"detectors: none is {record.trial}")
