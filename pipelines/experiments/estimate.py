"""Estimated time of an experiment's tasks: from finished tasks of the same family here, else a rough guess."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.augmentation.augment import MIN_PER_GIVEN, MOST
from components.detectors.config import NO_THRESHOLD
from components.detectors.table import DETECTORS
from components.preprocessing.geometry import tile_grid
from components.vqgan.latents import SamplingPlan
from pipelines.experiments.nodes import Node
from pipelines.experiments.running import Store

_SECONDS_PER_UNIT: Mapping[str, float] = {
    "dataset": 0.05,
    "image_folder": 0.05,
    "prompts": 8.0,
    "augmentation": 0.06,
    "defect_synthesis": 0.1,
    "vqgan": 0.28,
    "selection": 0.15,
    "vqgan_clip": 0.3,
    "detection": 0.2,
    "detection patchcore": 0.16,
    "detection padim": 0.16,
    "detection cflow": 0.075,
    "detection reverse_distillation": 0.065,
    "evaluation": 0.08,
    "quality": 15.0,
}
"""By family, else by stage: on two cores of an Intel Xeon without a GPU, with the embedded profile at 256 pixels."""
_START = 8
"""Images that pass a detector in the time that its training takes to begin."""
_SHIFTED = 16
"""Copies of a given image, itself among them, in the part `shifts` of a training set."""
_UNKNOWN_TEST = 60
"""Test images of a data set that was not listed."""


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
    """Size of a task in the unit of its stage: images of 256 x 256 pixels, steps of a detector, or 1."""
    dataset = _dataset(node).config
    scale = float(dataset.image_size / 256) ** 2
    seen = scale * _tiles(dataset)
    amount: float
    match node.stage:
        case "dataset" | "image_folder":
            amount = given_images(node) + _test_images(node)
        case "augmentation":
            amount = scale * set_size(node)
        case "defect_synthesis":
            amount = scale * _synthetic_images(node)
        case "vqgan":
            amount = scale * _loop_images(node)
        case "vqgan_clip":
            amount = scale * node.config.images * node.config.steps
        case "selection":
            amount = node.inputs["candidates"].config.iterations * set_size(node)
        case "detection":
            amount = seen * _detection_images(node)
        case "evaluation":
            images = _test_images(_dataset(node)) + 2 * node.config.latency_images
            amount = seen * images * len(node.detectors)
        case _:
            amount = 1
    return float(amount)


def _loop_images(node: Node) -> int:
    """Images that pass the generator in a loop: of each step's two batches, and of every set."""
    config, plan = node.config, SamplingPlan(given_images(node), node.config)
    return int(config.iterations * (2 * plan.steps * config.batch_size * config.accumulate + plan.images))


def given_images(node: Node) -> int:
    """Good images that a task's image set is given: its shots, or what is left of the listing after the calibration."""
    reference = _dataset(node)
    listed = reference.counts.train if reference.counts else 1
    if reference.stage == "image_folder":
        return listed
    return int(reference.config.shots or max(1, listed - reference.config.calibration))


def set_size(node: Node) -> int:
    """Images of the set that a task writes, one that adds to the given ones."""
    given = given_images(node)
    match node.stage:
        case "augmentation":
            return int(given * max(MIN_PER_GIVEN, min(node.config.images, MOST // given)))
        case "selection":
            return int(node.config.images or SamplingPlan(given, node.inputs["candidates"].config).images)
        case "vqgan_clip":
            return int(node.config.images)
        case _:
            return given


def training_images(node: Node) -> int:
    """Images that a detector is trained on, the given ones among them."""
    given, config, inputs = given_images(node), node.config, node.inputs
    turns = round(360 / config.rotation_step) if "rotations" in config.parts else 1
    copies = turns * (_SHIFTED if "shifts" in config.parts else 1)
    added = {"augmented": "augmented", "generated": "selected", "repeated": "selected"}
    return given * copies + sum(set_size(inputs[name]) for part, name in added.items() if part in config.parts)


def _detection_images(node: Node) -> float:
    """Images, or steps of a detector that is optimised, of the training and of those without each fold's images."""
    given, config = given_images(node), node.config
    steps = [name for name in DETECTORS[config.detector].reads if name.endswith("_steps")]
    one = _START + (getattr(config.for_given(given), steps[0]) if steps else training_images(node))
    calibration = _dataset(node).config.calibration
    if config.threshold == NO_THRESHOLD or (given == 1 and not calibration):
        return float(one)
    held_out = (calibration or given) + _synthetic_images(node)
    folds = 0 if calibration else min(config.threshold_folds, given)
    return float(one + max(0, folds - 1) * one + held_out)


def _synthetic_images(node: Node) -> int:
    """Synthetic defects on the good images that are given, or held out for the calibration."""
    config = node.config if node.stage == "defect_synthesis" else node.inputs["synthetic"].config
    return int(min(config.limit, config.per_image * (given_images(node) + _dataset(node).config.calibration)))


def _test_images(node: Node) -> int:
    return _UNKNOWN_TEST if node.counts is None else node.counts.test


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
