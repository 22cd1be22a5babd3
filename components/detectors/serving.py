"""Scores the images of requests by the lightest runtime that a registered detector's artifact allows.

Where the artifact holds an export that agrees with its checkpoint, neither torch nor anomalib is imported: importing
one detector of anomalib imports all of them with what trains them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from components.artifacts import CONFIG, ONNX_MODEL, OPENVINO_MODEL, SUMMARY, read_json, to_tensor
from components.compute import thread_limit
from components.preprocessing.transform import kept_preprocessing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from components.artifacts import UInt8Image

    Floats = npt.NDArray[np.float32]

ONNX, OPENVINO, TORCH = "onnx", "openvino", "torch"
EXPORT_INPUT = "images"
"""Name of an export's input, float32 [1, 3, height, width] in [0, 1], in the size of the preprocessing."""
EXPORT_OUTPUTS = ("score", "anomaly_map")
"""Names of an export's outputs, float32 [1] and [1, height, width]."""

Runner: TypeAlias = "Callable[[Floats], Sequence[Floats]]"
"""From an export's input to its outputs."""


class ServedDetector:
    """A detector as it is served: what its images go through, its threshold, and what scores them."""

    def __init__(self, path: str | Path, *, threads: int = 0) -> None:
        """Load an artifact of the registration stage; 0 leaves an export's threads to its runtime."""
        directory = Path(path)
        content = read_json(directory / CONFIG)
        self.preprocessing = kept_preprocessing(content)
        self.threshold: float = content["threshold"]["value"]
        self.runtime = runtime_of(directory)
        if self.runtime == TORCH:
            from components.detectors.detector import Detector

            self._detector = Detector(directory)
        else:
            self._run = export_runner(directory, self.runtime, threads=threads)

    def score(self, images: "Sequence[UInt8Image]") -> "tuple[Floats, Floats]":
        """Raw anomaly scores [n] and maps [n, height, width] of RGB images [height, width, 3] of `preprocessing`."""
        import numpy as np

        if self.runtime == TORCH:
            scores, maps = self._detector.predict(to_tensor(images))
            return scores.numpy(), maps.numpy()
        rows = [self._run((image.transpose(2, 0, 1)[None] / 255).astype(np.float32)) for image in images]
        return np.concatenate([row[0] for row in rows]), np.concatenate([row[1] for row in rows])


def runtime_of(directory: Path) -> str:
    """`onnx` or `openvino` for an artifact with an export that agrees with its checkpoint, else `torch`."""
    found = [kind for kind, name in ((ONNX, ONNX_MODEL), (OPENVINO, OPENVINO_MODEL)) if (directory / name).is_file()]
    return found[0] if found and read_json(directory / SUMMARY).get("parity.passed") else TORCH


def export_predictor(directory: Path) -> "Callable[[Tensor], None] | None":
    """Scores images by an artifact's export, in one thread; None where its checkpoint is what is served."""
    kind = runtime_of(directory)
    if kind == TORCH:
        return None
    run = export_runner(directory, kind, threads=1)

    def predict(images: "Tensor") -> None:
        for image in images:
            run(image.unsqueeze(0).numpy())

    return predict


def export_runner(directory: Path, kind: str, *, threads: int = 0) -> Runner:
    """What runs an artifact's export of a kind, on the CPU in full precision; 0 threads: the limit of the process."""
    threads = threads or thread_limit()  # none leaves them to the runtime
    if kind == ONNX:
        from onnxruntime import InferenceSession, SessionOptions

        options = SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        session = InferenceSession(directory / ONNX_MODEL, options, providers=["CPUExecutionProvider"])
        return lambda image: session.run(list(EXPORT_OUTPUTS), {EXPORT_INPUT: image})
    import openvino

    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    model = openvino.Core().compile_model(directory / OPENVINO_MODEL, "CPU", settings)

    def run(image: "Floats") -> Any:
        found = model([image])
        return [found[name].copy() for name in EXPORT_OUTPUTS]

    return run
