"""Reads MLflow runs back for the tests."""

from mlflow import MlflowClient
from mlflow.entities import Run

from components.tracking.events import PARENT_TAG, PIPELINE, STAGE_TAG


def line_runs(client: MlflowClient, line: str) -> list[Run]:
    """All runs of a line's experiment that are not deleted."""
    experiment = client.get_experiment_by_name(line)
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def pipeline_run(client: MlflowClient, line: str) -> Run:
    """The only pipeline run of a line."""
    (found,) = [run for run in line_runs(client, line) if run.data.tags.get(STAGE_TAG) == PIPELINE]
    return found


def stage_runs(client: MlflowClient, line: str, stage: str) -> list[Run]:
    """Nested runs of a stage."""
    return [run for run in line_runs(client, line) if PARENT_TAG in run.data.tags and run.data.tags[STAGE_TAG] == stage]


def only_stage_run(client: MlflowClient, line: str, stage: str) -> Run:
    """The only nested run of a stage."""
    (found,) = stage_runs(client, line, stage)
    return found
