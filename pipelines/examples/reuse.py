"""A pipeline of one's own with three of VIGIL's components: data set, two detectors, their evaluation.

Compile it with `python pipelines/examples/reuse.py reuse.yaml`.
"""

import sys
from pathlib import Path

from kfp import compiler, components, dsl

FOLDER = Path(__file__).resolve().parents[2] / "components"

dataset, detection, evaluation = (
    components.load_component_from_file(str(FOLDER / name / "component.yaml"))
    for name in ("dataset", "detection", "evaluation")
)


@dsl.pipeline(name="two-detectors")
def two_detectors(uri: str, digest: str, line: str = "my-part") -> None:
    """Train two detectors on the good images of a part in the MVTec layout, and measure them on its test images."""
    reference = dataset(line=line, uri=uri, dataset_digest=digest, shots=8).outputs["reference"]
    with dsl.ParallelFor(["patchcore", "padim"]) as detector:
        # Of all sets, the training set `none` has the first alone.
        sets = dict.fromkeys(("reference", "augmented", "synthetic", "selected"), reference)
        trained = detection(line=line, **sets, detector=detector, training_set="none").set_memory_limit("8Gi")
    evaluation(line=line, reference=reference, detectors=dsl.Collected(trained.outputs["trained"]))


if __name__ == "__main__":
    compiler.Compiler().compile(two_detectors, sys.argv[1])
