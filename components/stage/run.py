"""What surrounds every stage: its log lines, its summary, its MLflow run, and the report of its failure."""

import json
import logging
import math
import os
import resource
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from components import __version__
from components.artifacts import SUMMARY, UNSENT, write_json
from components.errors import InputError, without_credentials
from components.logs import configure_logging
from components.settings import Settings
from components.stage.inputs import check_inputs
from components.stage.log_tail import last_lines
from components.stage.provenance import git_revision, run_url, versions
from components.stage.resources import limit_threads, require_gpus
from components.task_environment import apply_task_environment, check_task_environment
from components.tracking.events import RUN_ID
from components.tracking.run import StageRun, stage_run

logger = logging.getLogger(__name__)

INPUT_ERROR = "input-error"
FAILURE = "failure"
_PROGRESS_SECONDS = 2.0
_RUN_TAGS = {"object": "object", "profile": "profile", "shots": "dataset_shots", "seed": "seed"}

ConfigType = TypeVar("ConfigType", bound=Settings)


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
        self._logged = 0.0

    def configure(self, config: ConfigType) -> ConfigType:
        """Log the fields of a config as parameters, and return it."""
        logger.debug("%s: %s", self.name, config)
        self.tracker.log_params(config.model_dump())
        return config

    def describe_run(self, settings: str, dataset: str, digest: str) -> None:
        """Record what the pipeline run is about: its settings as JSON, and its data set's URI and digest."""
        values = json.loads(settings)
        self.tracker.log_params(values, parent=True)
        tags = {f"vigil.{name}": str(values[key]) for name, key in _RUN_TAGS.items() if key in values}
        tags |= {"vigil.dataset_digest": digest, "vigil.versions": json.dumps(versions(), sort_keys=True)}
        found = {"mlflow.source.git.commit": git_revision(), "vigil.run_url": run_url()}
        self.tracker.log_parent_tags(tags | {name: value for name, value in found.items() if value})
        self.tracker.log_dataset(dataset, values["line"], digest)

    def progress(self, step: int, total: int, scalars: Mapping[str, float]) -> None:
        """Record the scalars of a step in MLflow, and log a line with the time left every few seconds."""
        self.tracker.log_metrics(scalars, step)
        now = time.monotonic()
        if now - self._logged < _PROGRESS_SECONDS and step != total:
            return
        self._logged = now
        left = (now - self._started) / step * (total - step)
        shown = " ".join(f"{name}={value:.3g}" for name, value in scalars.items())
        logger.info("%s: step %d/%d, %.0f s left, %s", self.name, step, total, left, shown)

    def finish(self, artifact: str | Path | None, values: Mapping[str, Any], metrics: MetricSink) -> None:
        """Write the summary into the artifact, if there is one, and log numbers as metrics and texts as tags."""
        scale = 1024 if sys.platform == "linux" else 1024 * 1024
        peak_memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
        summary = {**values, "seconds": time.monotonic() - self._started, "peak_memory_mb": peak_memory_mb}
        if artifact is not None:
            origin = {"stage": self.name, "run_id": os.environ.get(RUN_ID, ""), "vigil": __version__}
            write_json(Path(artifact) / SUMMARY, {**summary, **origin, "versions": versions()})
        numbers = {name: float(value) for name, value in summary.items() if isinstance(value, (int, float))}
        # Kubeflow's launcher reads the metrics as strict JSON, which has no NaN and no infinity, and fails the task.
        finite = {name: value for name, value in numbers.items() if math.isfinite(value)}
        for name in numbers.keys() - finite.keys():
            logger.warning("%s: %s is %s, which is no metric of Kubeflow, and left out", self.name, name, numbers[name])
        for name, value in finite.items():
            metrics.log_metric(name, value)
        # KFP keeps metrics in the metadata only, and its local cache misses on an artifact without a file.
        write_json(Path(metrics.path), finite)
        self.tracker.log_metrics(numbers)
        self.tracker.log_tags({name: value for name, value in values.items() if isinstance(value, str)})
        if artifact is not None:
            self.tracker.leave_unsent(Path(artifact) / UNSENT)


@contextmanager
def stage(name: str, line: str, *, direct: bool = False) -> Iterator[Stage]:
    """Run the block as a stage of a line; what it raises is raised again, after one log line. `direct`: see `StageRun`.

    Raises:
        InputError: on a cluster, the task's ConfigMap, the tracking server's Secret or the content of an input artifact
            is missing, or a GPU that was asked for is not usable.
        KeyboardInterrupt: the process was asked to terminate.
    """
    apply_task_environment()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    limit_threads(name)
    configure_logging()
    logger.info("%s: started", name)
    started = time.monotonic()
    with _termination_as_interrupt(), last_lines() as printed, stage_run(line, name, direct=direct) as tracker:
        try:
            check_task_environment()
            check_inputs()
            require_gpus()
            yield Stage(name, tracker)
        except BaseException as error:
            _report_failure(name, error, printed, tracker)
            raise
    logger.info("%s: done in %.1f s", name, time.monotonic() - started)


def _report_failure(name: str, error: BaseException, printed: Iterable[str], tracker: StageRun) -> None:
    """Log a failure in one line, and record it with the last printed lines; bad input needs no traceback."""
    text = str(error) if isinstance(error, (InputError, OSError)) else f"{type(error).__name__}: {error}"
    message = without_credentials(" ".join(text.split())) or type(error).__name__
    kind, trace = (INPUT_ERROR, []) if isinstance(error, InputError) else (FAILURE, traceback.format_exception(error))
    logger.error("%s: %s: %s", name, kind, message)
    status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    tracker.log_failure(status, message, without_credentials("".join([*printed, *trace])))


@contextmanager
def _termination_as_interrupt() -> Iterator[None]:
    """Let SIGTERM, by which Kubernetes ends a pod, run the clean-up of whoever is inside the block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("terminated")

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
