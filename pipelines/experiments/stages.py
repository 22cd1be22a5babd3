"""The stages of experiments on this machine: a node's artifact by the library function of its stage."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.stage.progress import ignore_progress
from pipelines.experiments.nodes import Node
from pipelines.lines.stages import STAGES


def run_stage(node: Node, inputs: Mapping[str, Path], detectors: Sequence[Path], output: Path) -> None:
    """Write the artifact of a task.

    Args:
        node: the task.
        inputs: input artifacts by name.
        detectors: those that an evaluation measures.
        output: the artifact to write.
    """
    function = STAGES[node.stage].function
    artifacts = {**inputs, "detectors": detectors}
    given = [artifacts[name] for name in inspect.signature(function).parameters if name in artifacts]
    match node.stage:
        case "dataset" | "image_folder":
            function(output, node.config, node.data)
        case "vqgan":
            function(*given, output, output.with_name("generator"), node.config, ignore_progress)
        case "vqgan_clip":
            function(*given, output, node.config, ignore_progress)
        case _:
            function(*given, output, node.config)


def is_final(node: Node, output: Path) -> bool:
    """Whether another run would give the same artifact: not where weights could not be fetched for a figure."""
    from components.quality.measure import is_final as is_final_quality

    return node.stage != "quality" or is_final_quality(output)
