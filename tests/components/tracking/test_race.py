"""Runs of a new line that start at once, as processes of their own."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from components.tracking.events import PARENT_TAG, RUN_ID_TAG
from components.tracking.run import stage_run
from tests.components.runs import line_runs, stage_runs
from tests.mlflow_server import mlflow_server
from tests.processes import CONTEXT, SECONDS, run_processes

pytestmark = pytest.mark.slow

RUNS = ("run-1", "run-2")


@pytest.fixture(params=["database", "server"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Address of an MLflow that nobody has used: a database that does not exist yet, or a server."""
    if request.param == "database":
        yield f"sqlite:///{tmp_path / 'new' / 'mlflow.db'}"
        return
    with mlflow_server(tmp_path) as address:
        yield address


def start_run(address: str, run_id: str, barrier: Any) -> None:
    os.environ.update({"MLFLOW_TRACKING_URI": address, "VIGIL_RUN_ID": run_id})
    barrier.wait(SECONDS)
    with stage_run("bolts", "vqgan") as run:
        run.log_metrics({"total": 1.0}, step=1)


def test_runs_of_a_new_line_that_start_at_once_are_all_recorded(address: str) -> None:
    barrier = CONTEXT.Barrier(len(RUNS))
    assert run_processes(*((start_run, (address, run_id, barrier)) for run_id in RUNS)) == [0, 0]
    client = MlflowClient(address)
    runs = [run for run in line_runs(client, "bolts") if RUN_ID_TAG in run.data.tags]
    parents = {run.data.tags[RUN_ID_TAG]: run.info.run_id for run in runs}
    stages = stage_runs(client, "bolts", "vqgan")
    assert sorted(parents) == sorted(RUNS)
    assert sorted(run.data.tags[PARENT_TAG] for run in stages) == sorted(parents.values())
    assert [(run.info.status, run.data.metrics["total"]) for run in stages] == [("FINISHED", 1.0)] * len(RUNS)
