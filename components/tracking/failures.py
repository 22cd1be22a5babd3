"""What MLflow knows of why a pipeline run failed."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from components.tracking.client import tracking_client
from components.tracking.events import PIPELINE, RUN_ID_TAG, STAGE_TAG
from components.tracking.mlflow_runs import FAILED_STAGE_TAG, FAILURE_TAG
from components.tracking.mlflow_writer import FAILURE_FILE

_MOST_BYTES = 1_000_000


@dataclass(frozen=True, kw_only=True)
class RecordedFailure:
    """What a stage recorded when it failed."""

    stage: str
    message: str
    log: str
    """The last lines that it printed; empty where MLflow has none."""


def recorded_failure(line: str, run_id: str) -> RecordedFailure | None:
    """The failure of a pipeline run of a line; None where MLflow has none. Raises MLflow's errors."""
    client = tracking_client()
    experiment = client.get_experiment_by_name(line)
    if experiment is None:
        return None
    query = f"tags.`{RUN_ID_TAG}` = '{run_id}' and tags.`{STAGE_TAG}` = '{PIPELINE}'"
    for run in client.search_runs([experiment.experiment_id], query):
        if message := run.data.tags.get(FAILURE_TAG):
            log = _log(run.info.run_id)
            return RecordedFailure(stage=run.data.tags.get(FAILED_STAGE_TAG, ""), message=message, log=log)
    return None


def _log(run_id: str) -> str:
    """The file of a failure's last lines, if it is there and of bounded size."""
    client = tracking_client()
    files = [file for file in client.list_artifacts(run_id) if file.path == FAILURE_FILE]
    if not files or (files[0].file_size or 0) > _MOST_BYTES:
        return ""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(client.download_artifacts(run_id, FAILURE_FILE, folder))
        return path.read_text(encoding="utf-8", errors="replace")
