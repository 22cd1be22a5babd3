"""The training pipeline: one compiled package for all production lines, which differ by parameters only."""

from collections.abc import Callable
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset, Model

from components.augmentation.component import augmentation as augment
from components.dataset.component import dataset as ingest
from components.dataset.component import fingerprint
from components.detection.component import detection as train
from components.evaluation.component import evaluation as evaluate
from components.prompts.component import prompts as find_prompts
from components.registration.component import registration as register
from components.reporting.component import conclusion as conclude
from components.reporting.component import reporting as report
from components.selection.component import selection as select
from components.vqgan.component import vqgan as generate
from pipelines.lines.parameters import pipeline_signature, stage_arguments

PIPELINE_NAME = "vigil-training"

Settle = Callable[[dsl.PipelineTask, str], None]
"""Writes the settings of a stage, by its name, into a task."""


class Outputs(NamedTuple):
    """What a run leaves."""

    report: HTML
    predictions: Dataset
    best: Model


def leave(task: dsl.PipelineTask, stage: str) -> None:
    """Write no settings."""


def training_pipeline(settle: Settle = leave) -> Any:
    """The training pipeline as a KFP graph component.

    Args:
        settle: called with every task and the name of its stage; writes task settings.
    """

    def _training(*channels: Any) -> Outputs:
        """Train and compare the detectors of a production line with and without generated images."""
        return _build(dict(zip(SIGNATURE.parameters, channels, strict=True)), settle)

    _training.__signature__ = SIGNATURE  # type: ignore[attr-defined]
    return dsl.pipeline(name=PIPELINE_NAME)(_training)


def _build(values: dict[str, Any], settle: Settle) -> Outputs:
    """The tasks and what they hand on."""
    line = values["line"]

    def task(stage: str, component: Any, section: str = "", **inputs: Any) -> Any:
        arguments = stage_arguments(section, values) if section else {}
        created = component(line=line, **inputs, **arguments)
        settle(created, stage)
        return created

    about = {"settings": values["settings"]}
    digest = task("fingerprint", fingerprint, uri=values["dataset_uri"], **about).set_caching_options(False).output
    reference = task("ingestion", ingest, "dataset", dataset_digest=digest).outputs["reference"]
    given = {"reference": reference}
    prompts = task("prompts", find_prompts, "prompts", **given).outputs["prompts"]
    augmented = task("augmentation", augment, "augmentation", **given).outputs["augmented"]
    candidates = task("generator", generate, "generator", **given, augmented=augmented).outputs["candidates"]
    texts = {"prompts": prompts, "candidates": candidates}
    selected = task("selection", select, "selection", **texts).outputs["selected"]

    with dsl.ParallelFor(values["trials"]) as trial:
        chosen = {"detector": trial.detector, "training_set": trial.training_set}
        sets = {"augmented": augmented, "selected": selected}
        detectors = task("detection", train, "detection", **given, **sets, **chosen).outputs["trained"]
    # The compiler changes a Collected where it is consumed, so each consumer has its own.
    trained = {**given, "detectors": dsl.Collected(detectors)}
    predictions = task("evaluation", evaluate, "evaluation", **trained).outputs["predictions"]
    trained = {**given, "detectors": dsl.Collected(detectors)}
    best = task("registration", register, "gate", **trained, predictions=predictions).outputs["best"]
    shown = {**given, **sets, **texts, "predictions": predictions, "best": best}
    html = task("reporting", report, **shown, **about).outputs["html"]
    source = {"dataset_uri": values["dataset_uri"], "dataset_digest": digest}
    shown |= {"detectors": dsl.Collected(detectors), "html": html}
    task("conclusion", conclude, **shown, **about, **source).set_caching_options(False)
    return Outputs(report=html, predictions=predictions, best=best)


SIGNATURE = pipeline_signature(Outputs)
training = training_pipeline()
