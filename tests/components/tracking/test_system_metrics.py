"""MLflow's monitor watches the machine of every stage, in the process that writes to MLflow."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.tracking.events import Event
from components.tracking.run import StageRun, stage_run
from components.tracking.silence import HEARTBEAT
from components.tracking.spool import published
from tests.components.runs import only_stage_run
from tests.conftest import NewDatabase

NAMES = {HEARTBEAT, "system/system_memory_usage_megabytes", "system/system_memory_usage_percentage"}
SECONDS = 30.0
OTHERS: list[threading.Thread] = []


@pytest.fixture(scope="module")
def database(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_database(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def client(database: str, others: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[MlflowClient]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    yield MlflowClient()
    assert monitors() == []


@pytest.fixture(autouse=True)
def others() -> None:
    """Leave aside the monitors of stages that other tests never end."""
    OTHERS.clear()
    OTHERS.extend(monitors())


def monitors() -> list[threading.Thread]:
    threads = [thread for thread in threading.enumerate() if thread.name == "SystemMetricsMonitor"]
    return [thread for thread in threads if thread not in OTHERS]


def wait_for_samples(client: MlflowClient, run_id: str, count: int) -> list[int]:
    """Steps of the heartbeat once there are so many."""
    deadline = time.monotonic() + SECONDS
    while len(found := client.get_metric_history(run_id, HEARTBEAT)) < count:
        assert time.monotonic() < deadline, "no sample arrives"
        time.sleep(0.05)
    return [sample.step for sample in found]


def test_samples_arrive_while_the_stage_runs_and_end_with_it(client: MlflowClient) -> None:
    with stage_run("bolts", "vqgan") as run:
        steps = wait_for_samples(client, run.run_id, 3)
        assert steps == list(range(len(steps)))
    found = only_stage_run(client, "bolts", "vqgan")
    assert set(found.data.metrics) >= NAMES
    assert 0 <= found.data.metrics[HEARTBEAT] <= 100
    assert found.info.status == "FINISHED"


def test_runner_watches_the_stages_of_a_local_run(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(tmp_path))
    with published(tmp_path) as publish:
        with stage_run("nuts", "vqgan"):
            while not monitors():
                time.sleep(0.05)
            wait_for_samples(client, only_stage_run(client, "nuts", "vqgan").info.run_id, 2)
        assert publish()
        assert monitors() == []


def test_stage_that_crashed_is_watched_no_longer_than_the_local_run(
    client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(tmp_path))
    with published(tmp_path) as publish:
        StageRun("screws", "vqgan")
        assert publish()
        assert len(monitors()) == 1


def test_samples_go_on_after_an_outage(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    with stage_run("cables", "vqgan") as run:
        run_id = run.run_id
        with monkeypatch.context() as outage:

            def fail(*_: object) -> None:
                raise ConnectionError("no answer")

            outage.setattr(MlflowClient, "get_run", fail)
            time.sleep(0.5)
        before = len(client.get_metric_history(run_id, HEARTBEAT))
        wait_for_samples(client, run_id, before + 2)


def test_unreachable_server_fails_no_finished_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with stage_run("bolts", "vqgan") as run:
        assert len(run.flush()) == 1
    assert monitors() == []


def test_nothing_is_sampled_without_tracking() -> None:
    with stage_run("bolts", "vqgan"):
        assert monitors() == []


def test_stage_that_is_backfilled_long_after_its_end_is_not_watched(client: MlflowClient) -> None:
    with stage_run("pills", "conclusion") as run:
        hour_ago = int((time.time() - 3600) * 1000)
        run._transport.put(run.task, Event(kind="start", values={}, time=hour_ago))
        run.flush()
        assert len(monitors()) == 1
