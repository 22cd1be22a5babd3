"""An experiment as a pipeline for a cluster: the same tasks, fanned out."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Dataset

from components.listing.layouts import PLAIN
from pipelines.dags.package import check_package, compile_package
from pipelines.dags.tasks import Tasks
from pipelines.experiments.nodes import Cell, Node, in_order
from pipelines.lines.cluster import Cluster
from pipelines.lines.line import load_cluster
from pipelines.lines.stages import TRIAL

_ARITY = 8
"""Artifacts that one task puts together."""


class Outputs(NamedTuple):
    """What a run leaves."""

    page: HTML
    results: Dataset


def experiment_pipeline(
    name: str, cells: Sequence[Cell], settings: Mapping[str, str], cluster: Cluster | None = None
) -> Any:
    """The pipeline of an experiment as a KFP graph component, for KFP's local runner where no cluster is given."""
    line = f"vigil-{name}"

    def experiment() -> Outputs:
        """Run the tasks of an experiment and draw its page."""
        stage = Tasks(line=line, cluster=cluster, label=line)
        outputs, digests = dict[str, Any](), dict[tuple[str, ...], Any]()
        for node in in_order(cells):
            if node.stage == "detection":
                continue  # trained in the loop of the evaluation that measures it
            inputs = _inputs(node, outputs)
            if node.detectors:
                inputs["detectors"] = _train(stage, node.detectors, outputs)
            if node.stage in ("dataset", "image_folder"):
                read = {"uri": node.config.uri, "layout": getattr(node.config, "layout", PLAIN)}
                key = tuple(read.values())
                if key not in digests:
                    digests[key] = stage("fingerprint", **read, settings=json.dumps({"line": line}))
                inputs["dataset_digest"] = digests[key]
            outputs[node.key] = stage(node.stage, **inputs, **node.config.model_dump(mode="json"))
        results = _tabulate(stage, cells, outputs)
        page = stage("draw_page", experiment=name, settings=json.dumps(settings), results=results)
        return Outputs(page=page, results=results)

    return dsl.pipeline(name=line)(experiment)


def _inputs(node: Node, outputs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: outputs[parent.key] for name, parent in node.inputs.items()}


def _train(stage: Tasks, detectors: Sequence[Node], outputs: Mapping[str, Any]) -> Any:
    """Train detectors of the same settings in one loop over their trials."""
    settings = detectors[0].config.model_dump(mode="json", exclude=set(TRIAL))
    trials = [{name: getattr(node.config, name) for name in TRIAL} for node in detectors]
    with dsl.ParallelFor(trials, parallelism=stage.parallelism) as trial:
        given = {name: getattr(trial, name) for name in TRIAL}
        trained = stage("detection", **given, **_inputs(detectors[0], outputs), **settings)
    return dsl.Collected(trained)


def _tabulate(stage: Tasks, cells: Sequence[Cell], outputs: Mapping[str, Any]) -> Any:
    """Gather the table of all cells in parts, and merge them until one is left."""
    parts = []
    for some in _batches(cells):
        labels = [json.dumps(cell.labels, sort_keys=True) for cell in some]
        inputs = {f"cell_{index}": outputs[cell.node.key] for index, cell in enumerate(some)}
        parts.append(stage("gather_cells", labels=labels, **inputs))
    while len(parts) > 1:
        merged = [{f"part_{index}": part for index, part in enumerate(some)} for some in _batches(parts)]
        parts = [stage("merge_results", **inputs) for inputs in merged]
    return parts[0]


def _batches(items: Sequence[Any]) -> list[Sequence[Any]]:
    return [items[start : start + _ARITY] for start in range(0, len(items), _ARITY)]


def write_package(
    path: Path, name: str, cells: Sequence[Cell], settings: Mapping[str, str], cluster_defaults: Path | None
) -> None:
    """Compile the pipeline of an experiment with its task settings, a YAML of a line's section `cluster`.

    Raises `InputError` where the path is no .yaml file in an existing folder, or a cluster setting is wrong.
    """
    check_package(path)
    compile_package(path, experiment_pipeline(name, cells, settings, load_cluster(cluster_defaults)))
