"""The training pipeline: one compiled package for all production lines, which differ by parameters only."""

from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset, Model

from components.augmentation.component import augment
from components.detection.component import train
from components.evaluation.component import evaluate
from components.ingestion.component import fingerprint, ingest
from components.prompts.component import find_prompts
from components.registration.component import register
from components.reporting.component import report
from components.selection.component import select
from components.vqgan.component import generate
from pipelines.parameters import pipeline_signature, stage_arguments

PIPELINE_NAME = "vigil-training"


class Outputs(NamedTuple):
    """What a run leaves."""

    report: HTML
    predictions: Dataset
    best: Model


def _training(*channels: Any) -> Outputs:
    """Train and compare the detectors of a production line with and without generated images."""
    values = dict(zip(SIGNATURE.parameters, channels, strict=True))
    line = values["line"]

    digest = fingerprint(line=line, uri=values["dataset_uri"]).set_caching_options(False)
    dataset = stage_arguments("dataset", values)
    reference = ingest(line=line, dataset_digest=digest.output, **dataset).outputs["reference"]
    prompts = find_prompts(line=line, reference=reference, **stage_arguments("prompts", values)).outputs["prompts"]
    given = {"line": line, "reference": reference}
    augmented = augment(**given, **stage_arguments("augmentation", values)).outputs["augmented"]
    generated = generate(**given, augmented=augmented, **stage_arguments("generator", values))
    candidates = generated.outputs["candidates"]
    selection = stage_arguments("selection", values)
    selected = select(line=line, prompts=prompts, candidates=candidates, **selection).outputs["selected"]

    with dsl.ParallelFor(values["trials"]) as trial:
        chosen = {"detector": trial.detector, "training_set": trial.training_set}
        sets = {"augmented": augmented, "selected": selected}
        trained = train(**given, **sets, **chosen, **stage_arguments("detection", values))
    detectors = trained.outputs["trained"]
    # The compiler changes a Collected where it is consumed, so each consumer has its own.
    evaluated = evaluate(**given, detectors=dsl.Collected(detectors), **stage_arguments("evaluation", values))
    predictions = evaluated.outputs["predictions"]
    gate = stage_arguments("gate", values)
    best = register(**given, detectors=dsl.Collected(detectors), predictions=predictions, **gate).outputs["best"]
    shown = {"prompts": prompts, "augmented": augmented, "candidates": candidates, "selected": selected}
    html = report(**given, **shown, settings=values["settings"], predictions=predictions, best=best).outputs["html"]
    return Outputs(report=html, predictions=predictions, best=best)


SIGNATURE = pipeline_signature(Outputs)
_training.__signature__ = SIGNATURE  # type: ignore[attr-defined]
training = dsl.pipeline(name=PIPELINE_NAME)(_training)
