"""Expects the time and memory of a line's run on this machine, roughly."""

from components.detectors.config import training_set_parts
from components.detectors.table import DETECTORS
from pipelines.checking.findings import Findings
from pipelines.experiments.estimate import rough_seconds
from pipelines.experiments.nodes import Node
from pipelines.lines.line import Line

_START_SECONDS = 6.0
"""Of a task's process, until it computes."""
_FURTHER_TASKS = 4
"""Tasks that hardly compute: the digest, registration, report and the run's end."""
_FEW_IMAGES = 17
"""Images that the detectors' rates were measured with."""
_BASE_GB, _LOOP_GB = 0.95, 2.75
"""Of a process with torch, and of the loop beside it: measured at 64, 128 and 256 pixels with the default batch."""
_DETECTION_GB = 1.2
_SHIFTED = 16
"""Copies of a given image, itself among them, in the part `shifts` of a training set."""
_GB = 1e9


def check_cost(line: Line, findings: Findings) -> None:
    """Expected seconds by stage, and the memory of the largest process, on two cores without a GPU."""
    given = line.dataset.shots or findings.facts.get("images", {}).get("train", {}).get("good", 1)
    reference = Node(stage="dataset", config=line.dataset)
    augmented = Node(stage="augmentation", config=line.augmentation, inputs={"reference": reference})
    inputs = {"reference": reference, "augmented": augmented}
    candidates = Node(stage="vqgan", config=line.vqgan, inputs=inputs)
    prompts = Node(stage="prompts", config=line.prompts, inputs={"reference": reference})
    chosen = {"prompts": prompts, "candidates": candidates}
    selected = Node(stage="selection", config=line.selection, inputs=chosen)
    seconds = {node.stage: rough_seconds(node) for node in (reference, prompts, augmented, candidates, selected)}
    detectors, largest = [], 0
    for detector in line.detectors:
        by_steps = any(name.endswith("_steps") for name in DETECTORS[detector].reads)
        for added in line.training_sets:
            config = line.detection.replace(detector=detector, training_set=added)
            detectors.append(Node(stage="detection", config=config, inputs=inputs))
            images = _images(line, added, given)
            largest = max(largest, images)
            steps = line.detection.for_given(given).cflow_steps / line.detection.cflow_steps
            factor = steps if by_steps else max(1.0, images / _FEW_IMAGES)
            seconds["detection"] = seconds.get("detection", 0.0) + factor * rough_seconds(detectors[-1])
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


def _images(line: Line, added: str, given: int) -> int:
    """Images that a detector is trained on."""
    parts = training_set_parts(added)
    turns = round(360 / line.detection.rotation_step) if "rotations" in parts else 1
    images = given * turns * (_SHIFTED if "shifts" in parts else 1)
    generated = line.selection.images or line.vqgan.images
    further = {
        "augmented": max(line.augmentation.images, 2 * given),
        "generated": generated,
        "repeated": generated,
    }
    return images + sum(further.get(part, 0) for part in parts)


def _memory_gb(line: Line, images: int) -> float:
    """Of the largest process: the loop, or the training of a detector on many images."""
    side = line.dataset.image_size
    loop = line.vqgan
    batch: float = loop.batch_size / type(loop).model_fields["batch_size"].default
    pixels, patches = 2 * 3 * 4 * side**2, 3 * 4 * 152 * (side // 8) ** 2
    return max(_BASE_GB + _LOOP_GB * batch * (side / 256) ** 2, _DETECTION_GB + images * (pixels + patches) / _GB)
