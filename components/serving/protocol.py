"""What the Open Inference Protocol (V2) asks of a detector over HTTP: metadata, requests, answers.

Source: kserve/open-inference-protocol, specification/protocol/inference_rest.md. The input `images` is either BYTES
[n], base64 text of encoded images of any size, or UINT8 [n, height, width, 3], RGB. The outputs are `score` FP32 [n],
`anomalous` BOOL [n] and `anomaly_map` FP32 [n, size, size]; a request that names no outputs gets all of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.detectors.serving import EXPORT_INPUT, EXPORT_OUTPUTS, ONNX, TORCH, ServedDetector, runtime_of
from components.errors import InputError, check
from components.registry.requests import read_images

if TYPE_CHECKING:
    import numpy.typing as npt

SCORE, MAPS = EXPORT_OUTPUTS
ANOMALOUS = "anomalous"
_PLATFORMS = {ONNX: "onnx_onnxv1", "openvino": "openvino_ir"}


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """A detector under the name and the version by which clients ask for it."""

    name: str
    version: str
    """Empty where the server knows none."""
    detector: ServedDetector

    @classmethod
    def load(cls, directory: Path, name: str, version: str = "", *, threads: int = 1) -> "ServedModel":
        """Load the artifact of a registered detector, to be run by so many threads.

        Raises `InputError` where it holds no export that agrees with its checkpoint: the server has no torch.
        """
        check((directory / "config.json").is_file(), "model", str(directory), "the folder of a detector artifact")
        expected = "an artifact with an export that agrees with its checkpoint; registration.export: onnx makes it"
        check(runtime_of(directory) != TORCH, "model", str(directory), expected)
        return cls(name=name, version=version, detector=ServedDetector(directory, threads=threads))

    def metadata(self) -> dict[str, Any]:
        """The `metadata_model_response`; sizes that vary are -1."""
        width, height = self.detector.preprocessing.size
        outputs = ((SCORE, "FP32", [-1]), (ANOMALOUS, "BOOL", [-1]), (MAPS, "FP32", [-1, height, width]))
        return {
            "name": self.name,
            **({"versions": [self.version]} if self.version else {}),
            "platform": _PLATFORMS[self.detector.runtime],
            "inputs": [{"name": EXPORT_INPUT, "datatype": "BYTES", "shape": [-1]}],
            "outputs": [{"name": name, "datatype": kind, "shape": shape} for name, kind, shape in outputs],
        }

    def infer(self, request: Any) -> dict[str, Any]:
        """The `inference_response` to the JSON of a request; `InputError` for one that asks for something else."""
        check(isinstance(request, Mapping), "request", type(request).__name__, "a JSON object")
        check(isinstance(request.get("id", ""), str), "id", request.get("id"), "a text")
        wanted = _wanted(request.get("outputs"))
        scores, maps = self.detector.score(read_images(_items(request.get("inputs")), self.detector.preprocessing))
        outputs = {
            SCORE: ("FP32", scores),
            ANOMALOUS: ("BOOL", scores > self.detector.threshold),
            MAPS: ("FP32", maps),
        }
        return {
            "model_name": self.name,
            **({"model_version": self.version} if self.version else {}),
            **({"id": request["id"]} if "id" in request else {}),
            "outputs": [
                {"name": name, "datatype": kind, "shape": list(values.shape), "data": values.ravel().tolist()}
                for name, (kind, values) in outputs.items()
                if name in wanted
            ],
        }


def _wanted(outputs: Any) -> Sequence[str]:
    """Names of the outputs that a request asks for."""
    known = (SCORE, ANOMALOUS, MAPS)
    if outputs is None or outputs == []:
        return known
    check(isinstance(outputs, list), "outputs", outputs, "a list")
    names = [output.get("name") if isinstance(output, Mapping) else output for output in outputs]
    for name in names:
        check(name in known, "outputs", name, f"objects with one of the names {', '.join(known)}")
    return [str(name) for name in names]


def _items(inputs: Any) -> "npt.NDArray[Any]":
    """Images of a request as `read_images` takes them: base64 texts [n], or pixels [n, height, width, 3]."""
    import numpy as np

    one = isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], Mapping)
    check(one and inputs[0].get("name") == EXPORT_INPUT, "inputs", _names(inputs), f"one object named {EXPORT_INPUT!r}")
    shape, kind, data = (inputs[0].get(name) for name in ("shape", "datatype", "data"))
    whole = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
    check(whole, "shape", shape, "a list of whole numbers")
    check(isinstance(data, list), "data", type(data).__name__, "a list")
    check(kind in ("BYTES", "UINT8"), "datatype", kind, "BYTES (base64 of image files) or UINT8 (RGB values)")
    if kind == "BYTES":
        check(len(shape) == 1 and len(data) == shape[0], "shape", shape, f"[{len(data)}], the number of the texts")
        for index, item in enumerate(data):
            check(isinstance(item, str), f"image {index}", type(item).__name__, "base64 text of an image file")
        return np.array(data, dtype=object)
    check(len(shape) == 4 and shape[3] == 3, "shape", shape, "[n, height, width, 3]")
    try:
        values = np.asarray(data)
    except ValueError:
        raise InputError("data: rows of different lengths, expected those of the shape") from None
    check(values.size == math.prod(shape), "data", f"{values.size} values", f"{math.prod(shape)}, as the shape says")
    # Flat or nested, the values are in row-major order.
    return values.reshape(shape)


def _names(inputs: Any) -> Any:
    found = inputs if isinstance(inputs, list) else [inputs]
    return [item.get("name") if isinstance(item, Mapping) else type(item).__name__ for item in found[:3]]
