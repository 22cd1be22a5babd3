"""Exports a detector for runtimes without torch, and checks that the export decides as the checkpoint does."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import ONNX_MODEL, OPENVINO_MODEL, ImageSet
from components.detectors.detector import Detector
from components.detectors.serving import EXPORT_INPUT, EXPORT_OUTPUTS, export_runner
from components.errors import check
from components.registration.config import Config

if TYPE_CHECKING:
    from torch import Tensor

Predictor = Callable[["Tensor"], "tuple[Tensor, Tensor]"]
"""From images [n, 3, height, width] in [0, 1] to scores [n] and anomaly maps [n, height, width]."""

_PACKAGES = {"onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far an export is from its checkpoint on the test images, in the unit of the raw scores."""

    max_score_difference: float
    max_map_difference: float
    changed_decisions: int
    """Images on the other side of the threshold."""
    passed: bool
    """Whether the differences are within the tolerances of the config."""


def export_detector(directory: Path, reference: str | Path, config: Config) -> dict[str, Any]:
    """Add the export that the config names to a detector's artifact, and compare both on the test split of `reference`.

    Without a test split they are compared on the given images. Returns the parity under the names that the gate reads,
    `parity.passed` and so on; nothing without an export. Raises `InputError` where the packages of the extra `export`
    are not installed.
    """
    if config.export == "none":
        return {}
    missing = [name for name in _PACKAGES[config.export] if find_spec(name) is None]
    check(not missing, config.key("export"), config.export, f"the extra 'export' to be installed; {missing} is missing")
    detector, images = Detector(directory), ImageSet(reference)
    write_export(detector, directory, config.export)
    ids, exported = images.ids("test") or images.ids("train"), load_export(directory, config.export)
    parity = compare(detector, exported, images.batches(ids), config)
    return {f"parity.{name}": value for name, value in vars(parity).items()}


def write_export(detector: Detector, directory: Path, kind: str) -> None:
    """Write `model.onnx`, or OpenVINO's `model.xml` and `model.bin`, of a detector.

    The export takes one image, float32 [1, 3, height, width] in [0, 1], as `images`, and gives `score` [1] and
    `anomaly_map` [1, height, width]; tiles are cut and put together inside. The number is fixed, since PatchCore's
    search is unrolled for it.
    """
    import torch

    path, (width, height) = directory / ONNX_MODEL, detector.input_size
    # The exporter on torch.export gives the same figures in thirty times the time.
    torch.onnx.export(
        detector.scorer().eval(),
        (torch.zeros(1, 3, height, width),),
        str(path),
        dynamo=False,
        opset_version=18,
        input_names=[EXPORT_INPUT],
        output_names=list(EXPORT_OUTPUTS),
    )
    if kind == "openvino":
        import openvino

        openvino.save_model(openvino.Core().read_model(path), directory / OPENVINO_MODEL, compress_to_fp16=False)
        path.unlink()


def load_export(directory: Path, kind: str) -> Predictor:
    """Predictor of the export in an artifact, by the runtime of its kind, on the CPU in full precision."""
    run = export_runner(directory, kind)

    def predict(images: "Tensor") -> "tuple[Tensor, Tensor]":
        import torch

        rows = [run(image.unsqueeze(0).numpy()) for image in images]
        scores, maps = (torch.cat([torch.from_numpy(row[index]) for row in rows]) for index in range(2))
        return scores, maps

    return predict


def compare(detector: Detector, exported: Predictor, batches: "Iterable[Tensor]", config: Config) -> Parity:
    """Parity of an export and its checkpoint on batches of images [n, 3, height, width] in [0, 1].

    Where either gives a value that is no number, so is the difference, and they are not close.
    """
    import torch

    threshold, changed = detector.threshold.known, 0
    differences = []
    for images in batches:
        scores, maps = detector.predict(images)
        other_scores, other_maps = exported(images)
        differences.append(torch.stack([(scores - other_scores).abs().max(), (maps - other_maps).abs().max()]))
        changed += int(((scores > threshold) != (other_scores > threshold)).sum())
    by_score, by_map = torch.stack(differences).amax(dim=0).tolist()
    close = all(difference <= config.parity_tolerance * abs(threshold) for difference in (by_score, by_map))
    return Parity(
        max_score_difference=by_score,
        max_map_difference=by_map,
        changed_decisions=changed,
        passed=close and changed <= config.parity_changes,
    )
