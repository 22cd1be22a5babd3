"""What surrounds every stage: its console lines, its summary, its MLflow run, and how its failure is told.

A console line starts with `[vigil]`, so that a reader of a pod's log, and the local runner, find it among the rest.
"""

import base64
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from components import __version__
from components.artifacts import SUMMARY, write_json
from components.errors import InputError
from components.tracking import StageRun, stage_run

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

PREFIX = "[vigil]"
INPUT_ERROR = "input-error"
FAILURE = "failure"
_PROGRESS_SECONDS = 2.0
_PACKAGES = ("torch", "kfp", "anomalib", "diffusers", "open_clip_torch", "mlflow", "nltk")

ConfigType = TypeVar("ConfigType", bound="DataclassInstance")


class MetricSink(Protocol):
    """KFP's Metrics artifact."""

    path: str

    def log_metric(self, metric: str, value: float) -> None:
        """Record a scalar."""


class Stage:
    """Handle that a stage's component works with."""

    def __init__(self, name: str, tracker: StageRun) -> None:
        """Start the clock."""
        self.name = name
        self.tracker = tracker
        self._started = time.monotonic()
        self._printed = 0.0

    def configure(self, config: ConfigType) -> ConfigType:
        """Log the fields of a config as parameters, and return it."""
        values = asdict(config) if is_dataclass(config) else {}
        self.tracker.log_params(values)
        return config

    def progress(self, step: int, total: int, scalars: Mapping[str, float]) -> None:
        """Log the scalars of a step, and print a line with the time left every few seconds."""
        self.tracker.log_metrics(scalars, step)
        now = time.monotonic()
        if now - self._printed < _PROGRESS_SECONDS and step != total:
            return
        self._printed = now
        left = (now - self._started) / step * (total - step)
        shown = " ".join(f"{name}={value:.3g}" for name, value in scalars.items())
        say(f"{self.name}: step {step}/{total}, {left:.0f} s left, {shown}")

    def publish_report(
        self, settings: str, html: str | Path, values: Mapping[str, float], sheets: Mapping[str, str]
    ) -> None:
        """Log the run's parameters (JSON), report, scalars and contact sheets (data URIs) at the pipeline run."""
        self.tracker.log_parent_params(json.loads(settings))
        self.tracker.log_parent_metrics(values)
        self.tracker.log_file(Path(html).read_bytes(), "report.html")
        for name, uri in sheets.items():
            self.tracker.log_file(base64.b64decode(uri.partition(",")[2]), f"contact_sheets/{name}.jpg")

    def finish(self, artifact: str | Path | None, values: Mapping[str, Any], metrics: MetricSink) -> None:
        """Write the summary into the artifact, if there is one, and log numbers as metrics and texts as tags."""
        elapsed = {"seconds": time.monotonic() - self._started, "peak_memory_mb": _peak_memory_mb()}
        summary = {**values, **elapsed}
        if artifact is not None:
            write_json(Path(artifact) / SUMMARY, {**summary, "versions": _versions(), "vigil": __version__})
        numbers = {name: float(value) for name, value in summary.items() if isinstance(value, (int, float))}
        for name, value in numbers.items():
            metrics.log_metric(name, value)
        # KFP keeps metrics in the metadata only, and its local cache misses on an artifact without a file.
        write_json(Path(metrics.path), numbers)
        self.tracker.log_metrics(numbers)
        self.tracker.log_tags({name: value for name, value in values.items() if isinstance(value, str)})


@contextmanager
def stage(name: str, line: str) -> Iterator[Stage]:
    """Run the block as a stage of a line.

    Args:
        name: stage, as shown in logs and MLflow.
        line: name of the production line.

    Raises:
        Whatever the block raises, after telling it in one console line.
    """
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    say(f"{name}: started")
    started = time.monotonic()
    try:
        with stage_run(line, name) as tracker:
            yield Stage(name, tracker)
    except BaseException as error:
        kind = INPUT_ERROR if isinstance(error, InputError) else FAILURE
        say(f"{name}: {kind}: {_one_line(error)}")
        raise
    say(f"{name}: done in {time.monotonic() - started:.1f} s")


def say(text: str) -> None:
    """Print a console line at once."""
    print(f"{PREFIX} {text}", flush=True)


def _one_line(error: BaseException) -> str:
    text = str(error) if isinstance(error, (InputError, OSError)) else f"{type(error).__name__}: {error}"
    return " ".join(text.split()) or type(error).__name__


def _peak_memory_mb() -> float:
    scale = 1024 if sys.platform == "linux" else 1024 * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
