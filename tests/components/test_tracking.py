"""Tests of MLflow logging against a database."""

from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from components.tracking import STAGE_TAG, StageRun, end_parent, find_or_create_parent, stage_run


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tracking URI of a database that is set up once; every test has an experiment of its own."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"
    MlflowClient(uri).search_experiments()
    return uri


@pytest.fixture
def client(database: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    return MlflowClient()


@pytest.fixture
def line(request: pytest.FixtureRequest) -> str:
    """A line that no other test uses."""
    return str(request.node.name)


def runs(client: MlflowClient, line: str) -> list[Run]:
    experiment = client.get_experiment_by_name(line)
    return list(client.search_runs([experiment.experiment_id]))


def nested_run(client: MlflowClient, line: str) -> Run:
    (found,) = [run for run in runs(client, line) if "mlflow.parentRunId" in run.data.tags]
    return found


def fail_after_a_step(line: str, error: BaseException) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"total": 1.0}, step=1)
        raise error


def test_off_without_a_server(line: str) -> None:
    with stage_run(line, "vqgan") as run:
        assert not run.active
        run.log_params({"images": 4})
        run.log_parent_params({"images": 4})
        run.log_metrics({"total": 1.0}, step=1)
        run.log_parent_metrics({"auroc": 1.0})
        run.log_tags({"best": "none"})
        run.log_file(b"text", "report.html")
        run.log_dataset("/data/bolts", line, "0" * 64)
        run.flush()


def test_stages_of_a_pipeline_run_share_their_parent(client: MlflowClient, line: str) -> None:
    for stage in ("ingestion", "prompts"):
        with stage_run(line, stage) as run:
            assert run.parent_id == find_or_create_parent(line)
    found = {run.data.tags[STAGE_TAG]: run for run in runs(client, line)}
    assert set(found) == {"pipeline", "ingestion", "prompts"}
    for stage in ("ingestion", "prompts"):
        assert found[stage].data.tags["mlflow.parentRunId"] == found["pipeline"].info.run_id
        assert found[stage].info.status == "FINISHED"
    assert found["pipeline"].info.run_name == f"{line}-run-1"


def test_another_pipeline_run_has_another_parent(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = find_or_create_parent(line)
    monkeypatch.setenv("VIGIL_RUN_ID", "run-2")
    second = find_or_create_parent(line)
    assert first != second
    assert {run.info.run_id for run in runs(client, line)} == {first, second}


def test_lines_have_experiments_of_their_own(client: MlflowClient, line: str) -> None:
    assert find_or_create_parent(line) != find_or_create_parent(f"{line}-2")
    assert len(runs(client, line)) == len(runs(client, f"{line}-2")) == 1


@pytest.mark.parametrize("error", [ValueError("no luck"), KeyboardInterrupt()])
def test_nested_run_fails_with_its_block(client: MlflowClient, line: str, error: BaseException) -> None:
    with pytest.raises(type(error)):
        fail_after_a_step(line, error)
    found = nested_run(client, line)
    assert found.info.status == "FAILED"
    assert found.data.metrics == {"total": 1.0}


def test_scalars_of_a_loop_arrive_with_their_steps(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        for step in range(1, 1201):
            run.log_metrics({"total": 1 / step}, step)
    history = client.get_metric_history(run.run_id, "total")
    assert [(point.step, point.value) for point in history] == [(step, 1 / step) for step in range(1, 1201)]


def test_scalars_are_sent_together(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"total": 1.0}, step=1)
        assert client.get_metric_history(run.run_id, "total") == []
        run.flush()
        assert len(client.get_metric_history(run.run_id, "total")) == 1
    assert len(client.get_metric_history(run.run_id, "total")) == 1


def test_params_belong_to_the_nested_run(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_params({"images": 4, "words": ("crack",), "template": "x" * 7000})
    params = nested_run(client, line).data.params
    assert (params["images"], params["words"]) == ("4", "('crack',)")
    assert params["template"] == "x" * 6000
    assert client.get_run(run.parent_id).data.params == {}


def test_params_of_the_pipeline_run_are_never_rewritten(client: MlflowClient, line: str) -> None:
    with stage_run(line, "reporting") as run:
        run.log_parent_params({"seed": 0})
        run.log_parent_params({"seed": 1, "object": "bolt"})
    assert client.get_run(run.parent_id).data.params == {"seed": "0", "object": "bolt"}


def test_tags_metrics_and_texts_reach_the_pipeline_run(client: MlflowClient, line: str) -> None:
    with stage_run(line, "reporting") as run:
        run.log_tags({"best": "patchcore/none"})
        run.log_parent_metrics({"auroc": 0.5})
        run.log_file(b"<html></html>", "report.html")
    parent = client.get_run(run.parent_id)
    assert parent.data.tags["vigil.best"] == "patchcore/none"
    assert nested_run(client, line).data.tags["vigil.best"] == "patchcore/none"
    assert parent.data.metrics == {"auroc": 0.5}
    assert [file.path for file in client.list_artifacts(run.parent_id)] == ["report.html"]


def test_artifacts_lie_beside_the_database(client: MlflowClient, database: str, line: str) -> None:
    folder = Path(database.removeprefix("sqlite:///")).parent
    find_or_create_parent(line)
    assert client.get_experiment_by_name(line).artifact_location == (folder / "mlartifacts").as_uri()


@pytest.mark.parametrize("source", ["{folder}", "s3://lines/bolts"])
def test_data_set_is_an_input_of_both_runs(client: MlflowClient, line: str, tmp_path: Path, source: str) -> None:
    with stage_run(line, "fingerprint") as run:
        run.log_dataset(source.format(folder=tmp_path), "bolts", "0123456789abcdef" * 4)
    for run_id in (run.run_id, run.parent_id):
        (entry,) = client.get_run(run_id).inputs.dataset_inputs
        assert entry.dataset.name == "bolts"
        assert entry.dataset.digest == ("0123456789abcdef" * 4)[:36]


def test_ending_the_pipeline_run_ends_what_was_left(client: MlflowClient, line: str) -> None:
    left = StageRun(line, "vqgan")
    with stage_run(line, "prompts") as done:
        pass
    end_parent(line, "FAILED")
    statuses = {run_id: client.get_run(run_id).info.status for run_id in (left.run_id, done.run_id, left.parent_id)}
    assert statuses == {left.run_id: "KILLED", done.run_id: "FINISHED", left.parent_id: "FAILED"}


def test_ending_a_pipeline_run_leaves_the_others(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = StageRun(line, "vqgan")
    monkeypatch.setenv("VIGIL_RUN_ID", "run-2")
    end_parent(line, "FINISHED")
    assert client.get_run(other.run_id).info.status == "RUNNING"
    assert client.get_run(other.parent_id).info.status == "RUNNING"
