"""The training pipeline: one compiled package for all production lines, which differ by parameters only."""

import inspect
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset, Model

from components.settings import SHARED
from pipelines.dags.task_settings import pipeline_config
from pipelines.dags.tasks import Tasks, parameter, with_parameters
from pipelines.lines.cluster import Cluster
from pipelines.lines.line import SECTIONS, Line

PIPELINE_NAME = "vigil-training"


class Outputs(NamedTuple):
    """What a run leaves."""

    report: HTML
    predictions: Dataset
    best: Model


def training_pipeline(cluster: Cluster | None = None, label: str = "") -> Any:
    """The training pipeline as a KFP graph component, for KFP's local runner where no cluster is given.

    The label is the line's name on the pods; empty for all lines.
    """

    def training(**values: Any) -> Outputs:
        """Train and compare the detectors of a production line with and without generated images."""
        stage = Tasks(line=values["line"], parameters=values, cluster=cluster, label=label)
        settings, dataset_uri = values["settings"], values["dataset_uri"]
        digest = stage("fingerprint", uri=dataset_uri, settings=settings, layout=values["dataset_layout"])
        reference = stage("dataset", dataset_digest=digest)
        synthetic = stage("defect_synthesis", reference=reference)
        prompts = stage("prompts", reference=reference)
        augmented = stage("augmentation", reference=reference, synthetic=synthetic)
        candidates = stage("vqgan", reference=reference, augmented=augmented)
        good = {"reference": reference, "synthetic": synthetic}
        selected = stage("selection", **good, prompts=prompts, candidates=candidates)
        sets = {"reference": reference, "augmented": augmented, "selected": selected, "synthetic": synthetic}
        with dsl.ParallelFor(values["trials"], parallelism=stage.parallelism) as trial:
            detector = stage("detection", **sets, detector=trial.detector, training_set=trial.training_set)
        # The compiler changes a Collected where it is consumed, so each consumer has its own.
        predictions = stage("evaluation", reference=reference, detectors=dsl.Collected(detector))
        best = stage("registration", reference=reference, detectors=dsl.Collected(detector), predictions=predictions)
        artifacts = {**sets, "prompts": prompts, "candidates": candidates, "predictions": predictions, "best": best}
        html = stage("reporting", settings=settings, **artifacts)
        run = {"settings": settings, "dataset_uri": dataset_uri, "dataset_digest": digest}
        stage("conclusion", **run, detectors=dsl.Collected(detector), html=html, **artifacts)
        return Outputs(report=html, predictions=predictions, best=best)

    pipeline = dsl.pipeline(name=PIPELINE_NAME, pipeline_config=pipeline_config(cluster))
    return pipeline(with_parameters(training, training_parameters(), Outputs))


def training_parameters() -> list[inspect.Parameter]:
    """What a line must give, what all stages share, and the settings of every section."""
    required = {"line": str, "object": str, "trials": list[dict[str, str]], "settings": str, "dataset_uri": str}
    shared = {name: Line.model_fields[name].default for name in SHARED if name not in required}
    settings = {
        stage.parameter(name): stage.config.model_fields[name].default
        for stage in SECTIONS.values()
        for name in stage.fields
        if stage.parameter(name) not in required
    }
    return [
        *(parameter(name, kind=kind) for name, kind in required.items()),
        *(parameter(name, default) for name, default in {**shared, **settings}.items()),
    ]


training = training_pipeline()
