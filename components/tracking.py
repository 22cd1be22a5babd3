"""MLflow: one experiment per line, a parent run per pipeline run, a nested run per stage. The only importer of mlflow.

Off unless `MLFLOW_TRACKING_URI` is set. `VIGIL_RUN_ID`, from the environment so that it is no input of any task,
tells the stages of one pipeline run from another's.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import __version__

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.models import ModelSignature

RUN_ID = "VIGIL_RUN_ID"
RUN_ID_TAG = "vigil.run_id"
STAGE_TAG = "vigil.stage"
PIPELINE = "pipeline"
_FLUSH_SECONDS = 3.0
_MAX_PARAM_LENGTH = 6000


class StageRun:
    """Logging of one stage; writes nothing when tracking is off."""

    def __init__(self, line: str, stage: str) -> None:
        """Find or create the experiment and the parent run, and create the nested run."""
        self.active = bool(os.environ.get("MLFLOW_TRACKING_URI"))
        self._pending: list[Metric] = []
        self._flushed = time.monotonic()
        if not self.active:
            return
        self._client = _client()
        self._experiment = _experiment_id(self._client, line)
        self.parent_id = find_or_create_parent(line)
        tags = {"mlflow.parentRunId": self.parent_id, STAGE_TAG: stage, "mlflow.runName": stage}
        self.run_id: str = self._client.create_run(self._experiment, tags=tags).info.run_id

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters of the nested run."""
        if self.active:
            self._client.log_batch(self.run_id, params=_params(values))

    def log_parent_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters of the pipeline run; what it already has stays."""
        if self.active:
            known = self._client.get_run(self.parent_id).data.params
            new = {name: value for name, value in values.items() if name not in known}
            self._client.log_batch(self.parent_id, params=_params(new))

    def log_metrics(self, values: Mapping[str, float], step: int = 0) -> None:
        """Log scalars; those of a loop are sent every few seconds."""
        if not self.active:
            return
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._pending += [Metric(name, float(value), now, step) for name, value in values.items()]
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            self.flush()

    def log_parent_metrics(self, values: Mapping[str, float]) -> None:
        """Log scalars of the pipeline run, by which runs of a line are compared."""
        for name, value in values.items() if self.active else ():
            self._client.log_metric(self.parent_id, name, value)

    def log_tags(self, values: Mapping[str, str]) -> None:
        """Set tags of the nested run and of the pipeline run."""
        for name, value in values.items() if self.active else ():
            self._client.set_tag(self.run_id, f"vigil.{name}", value)
            self._client.set_tag(self.parent_id, f"vigil.{name}", value)

    def log_file(self, content: bytes, name: str) -> None:
        """Store a file at the pipeline run, under a name that may have a folder."""
        if not self.active:
            return
        folder, _, file_name = name.rpartition("/")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / file_name
            path.write_bytes(content)
            self._client.log_artifact(self.parent_id, str(path), folder or None)

    def log_dataset(self, source: str, name: str, digest: str) -> None:
        """Log a data set as input of the nested run and of the pipeline run."""
        if not self.active:
            return
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        dataset = MetaDataset(resolve_dataset_source(source), name=name, digest=digest[:36])
        entry = DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])
        for run_id in (self.run_id, self.parent_id):
            self._client.log_inputs(run_id, [entry])

    def register_detector(
        self,
        *,
        name: str,
        code: Path,
        files: Mapping[str, Path],
        example: "npt.NDArray[np.uint8]",
        packages: list[str],
    ) -> str:
        """Log a model from code at the nested run and register it; returns the new version, or "" when off."""
        if not self.active:
            return ""
        import mlflow

        with mlflow.start_run(run_id=self.run_id):
            info = mlflow.pyfunc.log_model(
                name="detector",
                python_model=str(code),
                artifacts={key: str(path) for key, path in files.items()},
                code_paths=[str(Path(__file__).parent)],
                signature=detector_signature(),
                input_example=example,
                pip_requirements=packages,
                registered_model_name=name,
            )
        return str(info.registered_model_version)

    def flush(self) -> None:
        """Send the scalars that wait."""
        if self.active and self._pending:
            for start in range(0, len(self._pending), 1000):
                self._client.log_batch(self.run_id, metrics=self._pending[start : start + 1000])
            self._pending.clear()
        self._flushed = time.monotonic()

    def end(self, status: str) -> None:
        """Send what waits, and end the nested run as `FINISHED` or `FAILED`."""
        if self.active:
            self.flush()
            self._client.set_terminated(self.run_id, status)


def detector_signature() -> "ModelSignature":
    """RGB images, uint8 [n, height, width, 3], in; anomaly scores [n] and maps [n, height, width] out."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    inputs = Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3))])
    score = TensorSpec(np.dtype(np.float32), (-1,), "score")
    anomaly_map = TensorSpec(np.dtype(np.float32), (-1, -1, -1), "anomaly_map")
    return ModelSignature(inputs=inputs, outputs=Schema([score, anomaly_map]))


@contextmanager
def stage_run(line: str, stage: str) -> Iterator[StageRun]:
    """Yield the nested run of a stage; it ends as FAILED when the block raises."""
    run = StageRun(line, stage)
    try:
        yield run
    except BaseException:
        run.end("FAILED")
        raise
    run.end("FINISHED")


def find_or_create_parent(line: str) -> str:
    """Id of the pipeline run of this `VIGIL_RUN_ID` in the line's experiment."""
    client = _client()
    experiment = _experiment_id(client, line)
    pipeline_run = os.environ.get(RUN_ID, "")
    query = f"tags.`{RUN_ID_TAG}` = '{pipeline_run}' and tags.`{STAGE_TAG}` = '{PIPELINE}'"
    found = client.search_runs([experiment], query, max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = {
        RUN_ID_TAG: pipeline_run,
        STAGE_TAG: PIPELINE,
        "vigil.line": line,
        "vigil.version": __version__,
        "mlflow.runName": f"{line}-{pipeline_run}",
    }
    return str(client.create_run(experiment, tags=tags).info.run_id)


def end_parent(line: str, status: str) -> None:
    """End the pipeline run as `FINISHED`, `FAILED` or `KILLED`, and its nested runs that were left running."""
    client = _client()
    parent = find_or_create_parent(line)
    query = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([_experiment_id(client, line)], query):
        client.set_terminated(run.info.run_id, "KILLED")
    client.set_terminated(parent, status)


def end_parent_if_reachable(line: str, status: str) -> None:
    """As `end_parent`, for a run that has failed: an unreachable MLflow does not hide the failure."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    with suppress(MlflowException, SQLAlchemyError, OSError):
        end_parent(line, status)


def _client() -> "MlflowClient":
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    from mlflow import MlflowClient

    return MlflowClient()


def _experiment_id(client: "MlflowClient", line: str) -> str:
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(line)
    if experiment is not None:
        return str(experiment.experiment_id)
    try:
        return str(client.create_experiment(line, artifact_location=_artifact_location()))
    except MlflowException:
        experiment = client.get_experiment_by_name(line)
        if experiment is None:
            raise
        return str(experiment.experiment_id)


def _artifact_location() -> str | None:
    """Beside the database for sqlite, whose default is the working directory; the server's choice otherwise."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    if not uri.startswith("sqlite:///"):
        return None
    return (Path(uri.removeprefix("sqlite:///")).parent / "mlartifacts").as_uri()


def _params(values: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(name, str(value)[:_MAX_PARAM_LENGTH]) for name, value in values.items()]
