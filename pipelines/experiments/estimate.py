"""Estimated time of an experiment's tasks: from finished tasks of the same family here, else a rough guess."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.preprocessing.geometry import tile_grid
from pipelines.experiments.nodes import Node
from pipelines.experiments.running import Store

_SECONDS_PER_UNIT: Mapping[str, float] = {
    "dataset": 4.0,
    "image_folder": 2.0,
    "prompts": 8.0,
    "augmentation": 1.0,
    "defect_synthesis": 2.0,
    "vqgan": 0.28,
    "selection": 0.15,
    "vqgan_clip": 0.3,
    "detection": 50.0,
    "detection patchcore": 4.0,
    "detection padim": 4.0,
    "detection cflow": 30.0,
    "detection reverse_distillation": 20.0,
    "evaluation": 8.0,
    "quality": 15.0,
}
"""By family, else by stage: on two cores of an Intel Xeon without a GPU, with the embedded profile at 256 pixels."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Tasks of one family."""

    family: str
    tasks: int
    finished: int
    """Tasks that an earlier run finished."""
    seconds: float
    """Of the tasks that are left, one after the other."""
    measured: bool
    """Whether the figure rests on tasks that ran in this folder."""


def estimate(nodes: Sequence[Node], store: Store) -> list[Estimate]:
    """Tasks by family in the order of the graph, with the time that is left."""
    rows = []
    for name in dict.fromkeys(family(node) for node in nodes):
        own = [node for node in nodes if family(node) == name]
        done = [node for node in own if store.finished(node)]
        rates = [store.seconds(node) / work(node) for node in done]
        rest = [node for node in own if node not in done]
        measured = statistics.median(rates) * sum(work(node) for node in rest) if rates else None
        left = sum(map(rough_seconds, rest)) if measured is None else measured
        rows.append(Estimate(family=name, tasks=len(own), finished=len(done), seconds=left, measured=bool(rates)))
    return rows


def rough_seconds(node: Node) -> float:
    """Time of a task by a rate of its family that was measured elsewhere; see `_SECONDS_PER_UNIT`."""
    rate = _SECONDS_PER_UNIT.get(family(node), _SECONDS_PER_UNIT[node.stage])
    return rate * work(node)


def work(node: Node) -> float:
    """Size of a task in the unit of its stage: images that pass a network, in sizes of 256 x 256 pixels, or 1."""
    dataset = _dataset(node).config
    scale = float(dataset.image_size / 256) ** 2
    config = node.config
    if node.stage == "vqgan":
        images = 2 * config.steps * config.batch_size * config.accumulate + config.images
        return float(scale * config.iterations * images)
    if node.stage == "vqgan_clip":
        return float(scale * config.images * config.steps)
    if node.stage == "selection":
        loop = node.inputs["candidates"].config
        return float(loop.iterations * (config.images or loop.images))
    if node.stage == "evaluation":
        return scale * _tiles(dataset) * len(node.detectors)
    return scale * _tiles(dataset) if node.stage == "detection" else 1.0


def family(node: Node) -> str:
    """What tasks of similar cost have in common: the stage, and the detector that is trained."""
    return f"{node.stage} {node.config.detector}" if node.stage == "detection" else node.stage


def _dataset(node: Node) -> Node:
    """The task that has written the images that a task reads."""
    if node.stage in ("dataset", "image_folder"):
        return node
    return _dataset(node.inputs.get("reference") or node.parents[0])


def _tiles(config: Any) -> int:
    """Tiles of each image; one of a plain folder, which knows none."""
    rows, columns = tile_grid(getattr(config, "tiles", "1x1"))
    return rows * columns
