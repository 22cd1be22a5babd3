"""Tests of recording, against a database of MLflow's own."""

import contextlib
import json
import shutil
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from components.events import HEARTBEAT, PIPELINE, STAGE_TAG, Event, Task, read_events, write_events
from components.spool import published
from components.tracking import StageRun, current_task, record_end, stage_run
from tests.components.runs import line_runs, only_stage_run, pipeline_run, stage_runs
from tests.conftest import NewDatabase

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def database(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Tracking URI of a database in which every test has an experiment of its own."""
    return new_database(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def client(database: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    return MlflowClient()


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")


@pytest.fixture
def line(request: pytest.FixtureRequest) -> str:
    """A line that no other test uses."""
    return str(request.node.name)


def fail_after_a_step(line: str, error: BaseException) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"total": 1.0}, step=1)
        raise error


def use_everything(run: StageRun) -> None:
    run.log_params({"images": 4})
    run.log_parent_params({"images": 4})
    run.log_metrics({"total": 1.0}, step=1)
    run.log_parent_metrics({"auroc": 1.0})
    run.log_tags({"best": "none"})
    run.log_parent_tags({"vigil.object": "bolt"})
    run.log_file(b"text", "folder/note.txt")
    run.log_dataset("s3://lines/bolts", "bolts", "0" * 64)
    run.log_cached("prompts", "run-0", {"kept": 3})


def test_off_without_a_server(line: str) -> None:
    with stage_run(line, "vqgan") as run:
        assert not run.active
        use_everything(run)
        assert (run.flush(), run.run_id) == ([], "")


def test_stages_of_a_pipeline_run_share_their_parent(client: MlflowClient, line: str) -> None:
    for stage in ("ingestion", "prompts"):
        with stage_run(line, stage):
            pass
    parent = pipeline_run(client, line)
    for stage in ("ingestion", "prompts"):
        run = only_stage_run(client, line, stage)
        assert (run.data.tags["mlflow.parentRunId"], run.info.status) == (parent.info.run_id, "FINISHED")
    assert parent.info.run_name == f"{line}-run-1"
    assert len(line_runs(client, line)) == 3


def test_stages_that_start_at_once_share_their_parent(client: MlflowClient, line: str) -> None:
    def run_stage(number: int) -> None:
        with stage_run(line, f"detection {number}"):
            pass

    threads = [threading.Thread(target=run_stage, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parent = pipeline_run(client, line).info.run_id
    nested = [run for run in line_runs(client, line) if run.info.run_id != parent]
    assert sorted(run.data.tags[STAGE_TAG] for run in nested) == [f"detection {number}" for number in range(4)]


def test_two_pipeline_runs_of_a_line_do_not_mix(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = StageRun(line, "vqgan")
    monkeypatch.setenv("VIGIL_RUN_ID", "run-2")
    with stage_run(line, "vqgan") as second:
        second.log_parent_tags({"vigil.object": "nut"})
    first.log_parent_tags({"vigil.object": "bolt"})
    first.end("FINISHED")
    parents = [run for run in line_runs(client, line) if run.data.tags[STAGE_TAG] == PIPELINE]
    found = {run.data.tags["vigil.run_id"]: run for run in parents}
    assert {key: run.data.tags["vigil.object"] for key, run in found.items()} == {"run-1": "bolt", "run-2": "nut"}
    assert len(stage_runs(client, line, "vqgan")) == 2


def test_a_stage_by_itself_has_no_parent(client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIGIL_RUN_ID")
    with stage_run(line, "vqgan") as run:
        run.log_parent_metrics({"auroc": 0.5})
    (only,) = line_runs(client, line)
    assert (only.info.status, only.data.metrics) == ("FINISHED", {"auroc": 0.5})
    assert "mlflow.parentRunId" not in only.data.tags


@pytest.mark.parametrize(("error", "status"), [(ValueError("no luck"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_nested_run_fails_with_its_block(client: MlflowClient, line: str, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)):
        fail_after_a_step(line, error)
    found = only_stage_run(client, line, "vqgan")
    assert (found.info.status, found.data.metrics) == (status, {"total": 1.0})


def test_failure_is_told_at_the_pipeline_run(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_failure("FAILED", "ValueError: no luck", "step 3\nTraceback\n")
    parent = pipeline_run(client, line)
    assert parent.info.status == "FAILED"
    assert (parent.data.tags["vigil.failed_stage"], parent.data.tags["vigil.failure"]) == (
        "vqgan",
        "ValueError: no luck",
    )
    path = client.download_artifacts(parent.info.run_id, "failure.txt")
    assert Path(path).read_text(encoding="utf-8") == "step 3\nTraceback\n"


def test_a_retried_stage_has_one_run_and_takes_its_failure_back(client: MlflowClient, line: str) -> None:
    for _ in range(2):
        with stage_run(line, "vqgan") as run:
            run.log_metrics({"total": 2.0}, step=1)
            run.log_failure("FAILED", "no luck", "log")
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"total": 1.0}, step=1)
    found = only_stage_run(client, line, "vqgan")
    assert (found.data.tags["vigil.attempt"], found.info.status) == ("3", "FINISHED")
    assert [point.value for point in client.get_metric_history(found.info.run_id, "total")] == [1.0]
    parent = pipeline_run(client, line)
    assert parent.info.status == "RUNNING"
    assert not {"vigil.failed_stage", "vigil.failure"} & set(parent.data.tags)


def test_another_stage_leaves_the_failure(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_failure("FAILED", "no luck", "log")
    with stage_run(line, "detection"):
        pass
    assert pipeline_run(client, line).data.tags["vigil.failed_stage"] == "vqgan"


def test_a_run_that_finishes_after_all_has_no_failure(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_failure("FAILED", "no luck", "log")
    with stage_run(line, "conclusion") as run:
        run.close_parent("FINISHED")
    parent = pipeline_run(client, line)
    assert parent.info.status == "FINISHED"
    assert not {"vigil.failed_stage", "vigil.failure"} & set(parent.data.tags)


def test_run_that_kubeflow_has_made_is_used(client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = client.create_experiment(line)
    parent = client.create_run(experiment).info.run_id
    made = client.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", made)
    with stage_run(line, "vqgan") as run:
        use_everything(run)
        assert run.run_id == made
    assert pipeline_run(client, line).info.run_id == parent
    assert client.get_run(parent).data.metrics == {"auroc": 1.0}
    nested = only_stage_run(client, line, "vqgan")
    assert (nested.info.run_id, nested.data.metrics, nested.info.status) == (made, {"total": 1.0}, "RUNNING")


def test_scalars_of_a_loop_arrive_with_their_steps(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        for step in range(1, 1201):
            run.log_metrics({"total": 1 / step}, step)
    found = only_stage_run(client, line, "vqgan")
    history = client.get_metric_history(found.info.run_id, "total")
    assert [(point.step, point.value) for point in history] == [(step, 1 / step) for step in range(1, 1201)]


def test_scalars_arrive_while_the_stage_runs(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"total": 1.0}, step=1)
        assert len(client.get_metric_history(run.run_id, "total")) == 1
        run.log_metrics({"total": 0.5}, step=2)
    assert len(client.get_metric_history(only_stage_run(client, line, "vqgan").info.run_id, "total")) == 2


def test_params_belong_to_the_nested_run(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_params({"images": 4, "words": ("crack",), "template": "x" * 7000})
    params = only_stage_run(client, line, "vqgan").data.params
    assert (params["images"], params["words"], params["template"]) == ("4", "('crack',)", "x" * 6000)
    assert pipeline_run(client, line).data.params == {}


def test_params_of_the_pipeline_run_are_never_rewritten(client: MlflowClient, line: str) -> None:
    with stage_run(line, "reporting") as run:
        run.log_parent_params({"seed": 0})
        run.log_parent_params({"seed": 1, "object": "bolt"})
    assert pipeline_run(client, line).data.params == {"seed": "0", "object": "bolt"}


def test_more_parameters_than_one_call_takes(client: MlflowClient, line: str) -> None:
    with stage_run(line, "reporting") as run:
        run.log_parent_params({f"name{index}": index for index in range(130)})
    assert len(pipeline_run(client, line).data.params) == 130


def test_everything_reaches_its_run(client: MlflowClient, line: str) -> None:
    with stage_run(line, "reporting") as run:
        use_everything(run)
    parent, nested = pipeline_run(client, line), only_stage_run(client, line, "reporting")
    assert (parent.data.tags["vigil.best"], nested.data.tags["vigil.best"]) == ("none", "none")
    assert (parent.data.tags["vigil.object"], parent.data.metrics) == ("bolt", {"auroc": 1.0})
    assert [file.path for file in client.list_artifacts(parent.info.run_id, "folder")] == ["folder/note.txt"]
    for found in (parent, nested):
        (entry,) = client.get_run(found.info.run_id).inputs.dataset_inputs
        assert (entry.dataset.name, entry.dataset.digest) == ("bolts", "0" * 36)


def test_cached_stage_has_one_run_that_says_so(client: MlflowClient, line: str) -> None:
    with stage_run(line, "conclusion") as run:
        for _ in range(2):
            run.log_cached("vqgan", "run-0", {"psnr": 20.5, "generator_start": "untrained"})
    found = only_stage_run(client, line, "vqgan")
    assert (found.data.tags["vigil.cached"], found.info.status, found.data.metrics) == (
        "run-0",
        "FINISHED",
        {"psnr": 20.5},
    )


def test_stage_that_ran_is_not_called_cached(client: MlflowClient, line: str) -> None:
    with stage_run(line, "vqgan"):
        pass
    with stage_run(line, "conclusion") as run:
        run.log_cached("vqgan", "run-0", {})
    assert "vigil.cached" not in only_stage_run(client, line, "vqgan").data.tags


def test_artifacts_lie_beside_the_database(client: MlflowClient, database: str, line: str) -> None:
    folder = Path(database.removeprefix("sqlite:///")).parent
    with stage_run(line, "ingestion"):
        pass
    assert client.get_experiment_by_name(line).artifact_location == (folder / "mlartifacts").as_uri()


def test_ending_the_pipeline_run_ends_what_was_left(client: MlflowClient, line: str) -> None:
    left = StageRun(line, "vqgan")
    with stage_run(line, "prompts"):
        pass
    left.flush()
    with stage_run(line, "conclusion") as run:
        run.close_parent("FAILED")
    found = {run.data.tags[STAGE_TAG]: run.info.status for run in line_runs(client, line)}
    assert found == {"vqgan": "KILLED", "prompts": "FINISHED", "conclusion": "FINISHED", PIPELINE: "FAILED"}


def test_ending_a_pipeline_run_leaves_the_others(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = StageRun(line, "vqgan")
    run_id = other.run_id
    monkeypatch.setenv("VIGIL_RUN_ID", "run-2")
    with stage_run(line, "conclusion") as run:
        run.close_parent("FINISHED")
    assert client.get_run(run_id).info.status == "RUNNING"


def test_runs_that_died_without_a_word_are_failed_by_the_next(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, alive = StageRun(line, "vqgan"), StageRun(line, "prompts")
    hour_ago = int((time.time() - 3600) * 1000)
    nested = {stage: run.run_id for stage, run in (("vqgan", dead), ("prompts", alive))}
    for run_id in nested.values():
        client.update_run(run_id, status="RUNNING")
    monkeypatch.setenv("VIGIL_RUN_ID", "run-2")
    with stage_run(line, "fingerprint") as run:
        later = Event(kind="sweep", values={}, parent=True, time=int(time.time() * 1000) + 3600 * 1000)
        client.log_metric(nested["prompts"], HEARTBEAT, 1.0, timestamp=later.time - 1000)
        client.log_metric(nested["vqgan"], HEARTBEAT, 1.0, timestamp=hour_ago)
        run._transport.put(run.task, later)
    assert client.get_run(nested["vqgan"]).info.status == "FAILED"
    assert client.get_run(nested["prompts"]).info.status == "RUNNING"
    parents = {found.data.tags["vigil.run_id"]: found for found in line_runs(client, line) if is_parent(found)}
    assert parents["run-1"].info.status == "FAILED"
    assert parents["run-1"].data.tags["vigil.failed_stage"] == "vqgan"
    assert parents["run-2"].info.status == "RUNNING"


def is_parent(run: Run) -> bool:
    return bool(run.data.tags[STAGE_TAG] == PIPELINE)


def test_stage_goes_on_without_mlflow_and_says_so_once(
    unreachable: None, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_run(line, "vqgan") as run:
        use_everything(run)
        assert len(run.flush()) > 5
        assert run.run_id == ""
    (told,) = [text for text in capsys.readouterr().out.splitlines() if "MLflow" in text]
    assert told.startswith("[vigil] MLflow does not answer, the run goes on without it")


def test_database_that_does_not_open_is_written_when_it_does(
    database: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shutil.copy(database.removeprefix("sqlite:///"), tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (version,) = connection.execute("select version_num from alembic_version").fetchone()
        connection.execute("update alembic_version set version_num = 'of-another-mlflow'")
        with stage_run(line, "vqgan") as run:
            assert run.run_id == ""
            assert "MLflow does not answer" in capsys.readouterr().out
            connection.execute("update alembic_version set version_num = ?", [version])
    assert only_stage_run(MlflowClient(), line, "vqgan").info.status == "FINISHED"


def test_address_of_a_silent_server_is_told_without_its_password(
    unreachable: None, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:hush-hush@127.0.0.1:9")
    with stage_run(line, "vqgan"):
        pass
    told = capsys.readouterr().out
    assert "MLflow does not answer" in told
    assert "hush-hush" not in told


def test_what_could_not_be_sent_is_published_by_a_later_stage(
    client: MlflowClient, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as outage:
        outage.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        outage.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with stage_run(line, "vqgan") as run:
            use_everything(run)
            run.leave_unsent(tmp_path / "unsent.jsonl")
    assert line_runs(client, line) == []
    with stage_run(line, "conclusion") as run:
        run.publish_left(tmp_path / "unsent.jsonl")
    found = only_stage_run(client, line, "vqgan")
    assert (found.data.metrics, found.info.status) == ({"total": 1.0}, "FINISHED")
    assert pipeline_run(client, line).data.metrics == {"auroc": 1.0}


def test_nothing_is_left_where_all_was_sent(client: MlflowClient, line: str, tmp_path: Path) -> None:
    with stage_run(line, "vqgan") as run:
        use_everything(run)
        run.leave_unsent(tmp_path / "unsent.jsonl")
    assert not (tmp_path / "unsent.jsonl").exists()


def test_refused_event_is_told_and_does_not_hold_up_the_others(
    client: MlflowClient, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"not a good name!": 1.0})
        run.log_params({"images": 4})
    assert only_stage_run(client, line, "vqgan").data.params == {"images": "4"}
    assert "MLflow refused metrics of vqgan" in capsys.readouterr().out


def test_spool_is_published_while_stages_write_it(
    client: MlflowClient, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(tmp_path / "spool"))
    with published(tmp_path / "spool") as publish:
        with stage_run(line, "vqgan") as run:
            use_everything(run)
            with pytest.raises(RuntimeError, match="start the stage as direct"):
                assert run.run_id
        record_end(line, "FINISHED")
        assert publish()
    assert list((tmp_path / "spool").iterdir()) == []
    assert only_stage_run(client, line, "vqgan").info.status == "FINISHED"
    assert pipeline_run(client, line).info.status == "FINISHED"


def test_spool_of_an_outage_is_published_by_the_next_run(
    client: MlflowClient, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(tmp_path))
    with monkeypatch.context() as outage:
        outage.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        outage.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with published(tmp_path) as publish:
            with stage_run(line, "vqgan") as run:
                use_everything(run)
            assert not publish()
    assert len(list(tmp_path.iterdir())) == 1
    with published(tmp_path) as publish:
        assert publish()
    assert only_stage_run(client, line, "vqgan").data.metrics == {"total": 1.0}


def test_direct_stage_sends_beside_the_spool(
    client: MlflowClient, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(tmp_path / "spool"))
    with stage_run(line, "registration", direct=True) as run:
        assert client.get_run(run.run_id).data.tags[STAGE_TAG] == "registration"
    assert not (tmp_path / "spool").exists()


def test_direct_stage_leaves_to_the_runner_what_it_could_not_send(
    client: MlflowClient, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(tmp_path / "spool"))
    with monkeypatch.context() as outage:
        outage.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        outage.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        with stage_run(line, "conclusion", direct=True) as run:
            use_everything(run)
    with published(tmp_path / "spool") as publish:
        assert publish()
    assert pipeline_run(client, line).data.metrics == {"auroc": 1.0}
    assert only_stage_run(client, line, "conclusion").info.status == "FINISHED"


def test_events_survive_their_file_but_for_an_incomplete_line(tmp_path: Path) -> None:
    task = Task(line="bolts", run_id="run-1", stage="vqgan")
    events = [Event(kind="metrics", values={"step": step, "scalars": {"total": 1.0}}) for step in range(3)]
    write_events(tmp_path / "events.jsonl", [(task, event) for event in events])
    with (tmp_path / "events.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"task": {}})[:-1])
    assert read_events(tmp_path / "events.jsonl") == [(task, event) for event in events]


def test_task_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    assert current_task("bolts", "vqgan") == Task(line="bolts", run_id="run-1", stage="vqgan", mlflow_run_id="abc")
