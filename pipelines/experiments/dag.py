"""An experiment as a pipeline for a cluster: the same tasks, fanned out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset

from components.augmentation.component import augmentation as augment
from components.dataset.component import dataset as ingest
from components.dataset.component import fingerprint
from components.dataset.component import image_folder as import_images
from components.detection.component import detection as train
from components.evaluation.component import evaluation as evaluate
from components.prompts.component import prompts as find_prompts
from components.quality.component import quality as measure_images
from components.selection.component import selection as select
from components.tabulation.component import draw_page, gather_cells, merge_results
from components.vqgan.component import vqgan as generate
from components.vqgan_clip.component import vqgan_clip as generate_from_text
from pipelines.dags.package import check_package
from pipelines.dags.training import Settle, leave
from pipelines.experiments.nodes import Cell, Node, in_order
from pipelines.lines.line import load_cluster
from pipelines.lines.task_settings import apply_settings

_ARITY = 8
"""Artifacts that one task puts together."""


class Outputs(NamedTuple):
    """What a run leaves."""

    page: HTML
    results: Dataset


class Component(NamedTuple):
    """A stage's component, its output that other tasks take, and the name of its task settings."""

    build: Any
    output: str
    settings: str


_COMPONENTS: Mapping[str, Component] = {
    "ingestion": Component(ingest, "reference", "ingestion"),
    "folder": Component(import_images, "images", "ingestion"),
    "prompts": Component(find_prompts, "prompts", "prompts"),
    "augmentation": Component(augment, "augmented", "augmentation"),
    "generator": Component(generate, "candidates", "generator"),
    "selection": Component(select, "selected", "selection"),
    "text_guided": Component(generate_from_text, "selected", "generator"),
    "detection": Component(train, "trained", "detection"),
    "evaluation": Component(evaluate, "predictions", "evaluation"),
    "quality": Component(measure_images, "quality", "evaluation"),
}


def experiment_pipeline(name: str, cells: Sequence[Cell], settings: Mapping[str, str], settle: Settle = leave) -> Any:
    """The pipeline of an experiment as a KFP graph component.

    Args:
        name: the experiment's.
        cells: its cells.
        settings: what it is run with, for the page.
        settle: called with every task and the name of its stage; writes task settings.
    """

    def _experiment() -> Outputs:
        """Run the tasks of an experiment and draw its page."""
        graph = _Graph(f"vigil-{name}", settle)
        for node in in_order(cells):
            graph.add(node)
        results = graph.table(cells)
        drawn = graph.task("reporting", draw_page, experiment=name, settings=json.dumps(settings), results=results)
        return Outputs(page=drawn.outputs["page"], results=results)

    return dsl.pipeline(name=f"vigil-{name}")(_experiment)


def write_package(
    path: Path, name: str, cells: Sequence[Cell], settings: Mapping[str, str], cluster_defaults: Path | None
) -> None:
    """Compile the pipeline of an experiment with its task settings.

    Args:
        path: package to write, .yaml.
        name: the experiment's.
        cells: its cells.
        settings: what it is run with, for the page.
        cluster_defaults: YAML of a line's section `cluster`.

    Raises:
        InputError: the path is no .yaml file in an existing folder, or a cluster setting is wrong.
    """
    from kfp import compiler

    check_package(path)
    cluster = load_cluster(cluster_defaults)
    pipeline = experiment_pipeline(
        name, cells, settings, lambda task, stage: apply_settings(task, stage, cluster, f"vigil-{name}")
    )
    compiler.Compiler().compile(pipeline, str(path))


class _Graph:
    """Tasks of the pipeline that is being built."""

    def __init__(self, line: str, settle: Settle) -> None:
        self._line = line
        self._settle = settle
        self._outputs: dict[str, Any] = {}
        self._digests: dict[str, Any] = {}

    def task(self, stage: str, component: Any, **inputs: Any) -> Any:
        """A task with its settings."""
        created = component(line=self._line, **inputs)
        self._settle(created, stage)
        return created

    def add(self, node: Node) -> None:
        """The task of a node; detectors are trained in a loop of the evaluation that measures them."""
        if node.stage == "detection":
            return
        component = _COMPONENTS[node.stage]
        inputs = {name: self._outputs[parent.key] for name, parent in node.inputs.items()}
        if node.detectors:
            inputs["detectors"] = self._trained(node.detectors)
        if node.stage in ("ingestion", "folder"):
            inputs["dataset_digest"] = self._digest(node.config.uri)
        task = self.task(component.settings, component.build, **inputs, **_arguments(node.config))
        self._outputs[node.key] = task.outputs[component.output]

    def table(self, cells: Sequence[Cell]) -> Any:
        """The table of all cells: gathered in parts, which are merged until one is left."""
        parts = [self._gathered(cells[start : start + _ARITY]) for start in range(0, len(cells), _ARITY)]
        while len(parts) > 1:
            parts = [self._merged(parts[start : start + _ARITY]) for start in range(0, len(parts), _ARITY)]
        return parts[0]

    def _trained(self, detectors: Sequence[Node]) -> Any:
        first = detectors[0]
        fixed = {name: value for name, value in _arguments(first.config).items() if name not in _TRIAL}
        trials = [{name: getattr(node.config, name) for name in _TRIAL} for node in detectors]
        inputs = {name: self._outputs[parent.key] for name, parent in first.inputs.items()}
        with dsl.ParallelFor(trials) as trial:
            chosen = {"detector": trial.detector, "training_set": trial.training_set}
            trained = self.task("detection", train, **inputs, **fixed, **chosen)
        return dsl.Collected(trained.outputs["trained"])

    def _digest(self, uri: str) -> Any:
        """Digest of a data set, taken once in each run."""
        if uri not in self._digests:
            settings = json.dumps({"line": self._line})
            task = self.task("fingerprint", fingerprint, uri=uri, settings=settings)
            self._digests[uri] = task.set_caching_options(False).output
        return self._digests[uri]

    def _gathered(self, cells: Sequence[Cell]) -> Any:
        labels = [json.dumps(cell.labels, sort_keys=True) for cell in cells]
        inputs = {f"cell_{index}": self._outputs[cell.node.key] for index, cell in enumerate(cells)}
        return self.task("reporting", gather_cells, labels=labels, **inputs).outputs["results"]

    def _merged(self, parts: Sequence[Any]) -> Any:
        inputs = {f"part_{index}": part for index, part in enumerate(parts)}
        return self.task("reporting", merge_results, **inputs).outputs["results"]


_TRIAL = ("detector", "training_set")
"""In what the detectors of one evaluation differ."""


def _arguments(config: Any) -> dict[str, Any]:
    """A config's fields as the component of its stage takes them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in config.model_dump().items()}
