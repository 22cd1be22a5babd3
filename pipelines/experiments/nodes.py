"""Tasks of an experiment as nodes of a graph, and the cells of its table; equal tasks are one node."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from components.listing.opened import ImageCounts
from components.stage.provenance import code_digest
from components.weights.fetch import resolve

_PLACES = ("uri", "imagenet_dir")
"""Fields of configs that say where data lies; the digest of the data counts in their place."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Node:
    """One task: a stage, its config and the tasks whose artifacts it takes."""

    stage: str
    """Key of `pipelines.lines.stages.STAGES`."""
    config: Any
    """Config of the stage."""
    inputs: Mapping[str, "Node"] = field(default_factory=dict)
    """Tasks by the name of the artifact that they hand on."""
    detectors: tuple["Node", ...] = ()
    """Tasks whose detectors an evaluation measures."""
    data: str = ""
    """Digest of the data that is read from outside the graph."""
    counts: ImageCounts | None = None
    """Images of the data set that a task reads, for estimates; no part of the key, and None where it was not listed."""

    @cached_property
    def key(self) -> str:
        """Digest of everything that the task's result depends on: settings, data, weights, inputs and code.

        But for the number of threads that it computes on, which is the `Store`'s.
        """
        settings = {name: value for name, value in self.config.model_dump(mode="json").items() if name not in _PLACES}
        inputs = {name: node.key for name, node in self.inputs.items()}
        content = {
            "stage": self.stage,
            "settings": settings,
            "inputs": inputs,
            "detectors": [node.key for node in self.detectors],
            "data": self.data,
            "weights": [resolve(name).sha256 for name in self.config.references],
            "code": code_digest(),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def parents(self) -> tuple["Node", ...]:
        """Tasks that must be finished before."""
        return (*self.inputs.values(), *self.detectors)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A place of the experiment's table: what is measured, and under which names it is entered."""

    node: Node
    """Task whose artifact holds the figures."""
    kind: str
    """Key of `components.tabulation.gather.READERS`: how they are read."""
    class_name: str
    shots: int
    """Given images; 0 for all."""
    seed: int
    method: str
    """Name of the generated set, or of what else is measured."""
    variant: str = ""
    """How detectors are used or the given images are taken, where cells differ in it: part of a detector's name."""

    @property
    def labels(self) -> dict[str, Any]:
        """The cell without its task, as JSON can hold it."""
        return {name: value for name, value in vars(self).items() if name != "node"}


def in_order(cells: Iterable[Cell]) -> list[Node]:
    """All tasks that the cells need, each once, parents first."""
    found: dict[str, Node] = {}

    def visit(node: Node) -> None:
        for parent in node.parents:
            visit(parent)
        found.setdefault(node.key, node)

    for cell in cells:
        visit(cell.node)
    return list(found.values())
