"""Expects the time and memory of a line's run on this machine, roughly."""

from components.listing.opened import ImageCounts
from pipelines.checking.findings import Findings
from pipelines.experiments.estimate import rough_seconds, training_images
from pipelines.experiments.nodes import Node
from pipelines.lines.line import Line

_START_SECONDS = 6.0
"""Of a task's process, until it computes."""
_FURTHER_TASKS = 4
"""Tasks that hardly compute: the digest, registration, report and the run's end."""
_BASE_GB, _LOOP_GB = 0.95, 2.75
"""Of a process with torch, and of the loop beside it: measured at 64, 128 and 256 pixels with the default batch."""
_DETECTION_GB = 1.2
_GB = 1e9


def check_cost(line: Line, findings: Findings) -> None:
    """Expected seconds by stage, and the memory of the largest process, on two cores without a GPU."""
    images = findings.facts.get("images", {})
    train, test = ({"good": 1, "bad": 0, **images.get(split, {})} for split in ("train", "test"))
    counts = ImageCounts(train=train["good"], test=test["good"] + test["bad"])
    reference = Node(stage="dataset", config=line.dataset, counts=counts if images else None)
    synthetic = Node(stage="defect_synthesis", config=line.defect_synthesis, inputs={"reference": reference})
    augmented = Node(stage="augmentation", config=line.augmentation, inputs={"reference": reference})
    inputs = {"reference": reference, "augmented": augmented}
    candidates = Node(stage="vqgan", config=line.vqgan, inputs=inputs)
    prompts = Node(stage="prompts", config=line.prompts, inputs={"reference": reference})
    chosen = {"prompts": prompts, "candidates": candidates}
    selected = Node(stage="selection", config=line.selection, inputs=chosen)
    tasks = (reference, synthetic, prompts, augmented, candidates, selected)
    seconds = {node.stage: rough_seconds(node) for node in tasks}
    inputs |= {"selected": selected, "synthetic": synthetic}
    configs = [
        line.detection.replace(detector=detector, training_set=added)
        for detector in line.detectors
        for added in line.training_sets
    ]
    detectors = [Node(stage="detection", config=config, inputs=inputs) for config in configs]
    seconds["detection"] = sum(map(rough_seconds, detectors))
    largest = max(map(training_images, detectors))
    evaluation = Node(
        stage="evaluation", config=line.evaluation, inputs={"reference": reference}, detectors=tuple(detectors)
    )
    seconds["evaluation"] = rough_seconds(evaluation)
    starts = _START_SECONDS * (len(seconds) - 1 + len(detectors) + _FURTHER_TASKS)
    findings.facts["expected"] = {
        "seconds": round(sum(seconds.values()) + starts),
        "seconds_by_stage": {name: round(value) for name, value in seconds.items()},
        "memory_gb": None if line.vqgan.architecture == "f16" else round(_memory_gb(line, largest), 1),
    }


def _memory_gb(line: Line, images: int) -> float:
    """Of the largest process: the loop, or the training of a detector on many images."""
    side = line.dataset.image_size
    loop = line.vqgan
    batch: float = loop.batch_size / type(loop).model_fields["batch_size"].default
    pixels, patches = 2 * 3 * 4 * side**2, 3 * 4 * 152 * (side // 8) ** 2
    return max(_BASE_GB + _LOOP_GB * batch * (side / 256) ** 2, _DETECTION_GB + images * (pixels + patches) / _GB)
