"""Registers the best detector of a run as a version of the line's model in MLflow, and promotes it by the gate."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components import artifacts
from components.change.good_images import good_images
from components.detectors.detector import Detector
from components.detectors.serving import export_predictor
from components.metrics.choice import Choice, choose
from components.metrics.records import PROXY_METRIC, read_records
from components.metrics.scoring import TestSplit
from components.metrics.validation import read_validations
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
    """Copy the chosen detector to its own artifact, register it where MLflow is on, and decide on its promotion.

    The artifact `best` also keeps how it was chosen, the decision as JSON and as a page, and what the good images
    looked like and scored, for later measurements of drift. The first given image of `reference` is the input example,
    its test split measures the champion again where that is necessary. Returns which detector it is, its metric, the
    registered version (empty where MLflow does not answer), how it was chosen, the parity and the speed of its export,
    if there is one, and the decision.
    """
    evaluation = artifacts.read_json(Path(predictions) / artifacts.EVALUATION)
    split = {name: evaluation[name] for name in ("aupro_limit", "latency_images")}
    configs = {path: artifacts.read_json(Path(path) / artifacts.CONFIG)["config"] for path in detectors}
    trained = {f"{content['detector']}/{content['training_set']}": path for path, content in configs.items()}
    choice = _chosen(predictions, config)
    record = choice.record
    with tempfile.TemporaryDirectory() as folder:
        chosen = Path(folder) / "detector"
        shutil.copytree(trained[record.trial], chosen, ignore=shutil.ignore_patterns(artifacts.UNSENT))
        if export := export_detector(chosen, reference, config):
            summary = artifacts.read_json(chosen / artifacts.SUMMARY) if (chosen / artifacts.SUMMARY).is_file() else {}
            artifacts.write_json(chosen / artifacts.SUMMARY, summary | export)
        detector = Detector(chosen)
        good_images(artifacts.ImageSet(reference), detector).write(chosen)
        predict = export_predictor(chosen) if export else None
        speed = TestSplit(reference, **split).speed(predict, detector.input_size)
        by_defect = evaluation["defect_auroc"][record.trial]
        nomination = Nomination(
            line=line,
            run_id=tracker.task.run_id,
            measurement=measurement_of(chosen, record.with_metrics(speed), by_defect, evaluation["digest"]),
            limits=GateLimits.from_arguments(dict(config)),
            allow_unregistered=config.allow_unregistered,
            **split,
        )
        number, decision = nominate(nomination, reference, chosen, tracker)
        with artifacts.new_directory(best) as directory:
            shutil.copytree(chosen, directory, dirs_exist_ok=True)
            nomination.write(directory)
            artifacts.write_json(directory / artifacts.CHOICE, choice.to_content())
            artifacts.write_json(directory / artifacts.DECISION, decision.to_content())
            (directory / artifacts.DECISION_PAGE).write_text(decision.to_markdown(), encoding="utf-8")
    export |= {f"export.{name}": value for name, value in speed.items()}
    figures = {config.metric: record.metric(config.metric), PROXY_METRIC: record.proxy_image_auroc}
    figures |= {"regret": choice.regret}
    result = {"best": record.trial, "chosen_by": choice.rule, "model_version": number, **export}
    result |= {name: value for name, value in figures.items() if value is not None}
    return {**result, "gate": decision.gate, "gate_reasons": decision.reasons}


def _chosen(predictions: str | Path, config: Config) -> Choice:
    """The detector that the records and validations of a run's detectors choose."""
    return choose(
        read_records(Path(predictions) / artifacts.RECORDS),
        read_validations(predictions),
        choose_by=config.choose_by,
        metric=config.metric,
        min_gain=config.min_gain,
        max_false_alarm_rate=config.max_validation_false_alarm_rate,
    )
