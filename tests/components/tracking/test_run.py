"""Tests of recording, against a database of MLflow's own."""

import contextlib
import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from components.errors import InputError
from components.tracking.events import PIPELINE, STAGE_TAG, Event, Task, current_task, read_events, write_events
from components.tracking.run import StageRun, stage_run
from components.tracking.silence import HEARTBEAT
from components.tracking.spool import published, record_end
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
    run.log_params({"images": 4}, parent=True)
    run.log_metrics({"total": 1.0}, step=1)
    run.log_metrics({"auroc": 1.0}, parent=True)
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


def test_pipeline_run_that_stages_have_agreed_on_stays(client: MlflowClient, line: str) -> None:
    with stage_run(line, "prompts"):
        pass
    agreed = pipeline_run(client, line)
    tags = {name: agreed.data.tags[name] for name in ("vigil.run_id", STAGE_TAG)}
    client.create_run(agreed.info.experiment_id, start_time=agreed.info.start_time - 1, tags=tags)
    with stage_run(line, "augmentation"):
        pass
    assert only_stage_run(client, line, "augmentation").data.tags["mlflow.parentRunId"] == agreed.info.run_id


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
        run.log_metrics({"auroc": 0.5}, parent=True)
    (only,) = line_runs(client, line)
    assert (only.info.status, only.data.metrics) == ("FINISHED", {"auroc": 0.5})
    assert "mlflow.parentRunId" not in only.data.tags


@pytest.mark.parametrize(("error", "status"), [(ValueError("no luck"), "FAILED"), (KeyboardInterrupt(), "KILLED")])
def test_nested_run_fails_with_its_block(client: MlflowClient, line: str, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)):
        fail_after_a_step(line, error)
    found = only_stage_run(client, line, "vqgan")
    assert (found.info.status, found.data.metrics) == (status, {"total": 1.0})


def test_failure_is_reported_at_the_pipeline_run(client: MlflowClient, line: str) -> None:
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
    parent = pipeline_run(client, line)
    assert (parent.info.status, parent.data.tags["vigil.failed_stage"]) == ("FAILED", "vqgan")


def test_all_stages_that_failed_must_start_again(client: MlflowClient, line: str) -> None:
    for stage in ("detection 0", "detection 1"):
        with pytest.raises(ValueError, match="no luck"):
            fail_and_tell(line, stage)
    for stage, status in (("detection 1", "FAILED"), ("detection 0", "RUNNING")):
        with stage_run(line, stage):
            pass
        parent = pipeline_run(client, line)
        assert (parent.info.status, parent.data.tags.get("vigil.failed_stage")) == (
            status,
            "detection 0" if status == "FAILED" else None,
        )


def fail_and_tell(line: str, stage: str) -> None:
    with stage_run(line, stage) as run:
        run.log_failure("FAILED", "no luck", "log")
        raise ValueError("no luck")


def test_attempt_from_the_start_opens_a_failed_run_again(client: MlflowClient, line: str) -> None:
    with pytest.raises(ValueError, match="no luck"):
        fail_and_tell(line, "vqgan")
    with stage_run(line, "fingerprint"):
        pass
    parent = pipeline_run(client, line)
    assert (parent.info.status, parent.data.tags.get("vigil.failed_stage")) == ("RUNNING", None)


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


def test_retried_task_of_kubeflow_has_one_run(client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = client.create_experiment(line)
    parent = client.create_run(experiment).info.run_id
    first, second = (client.create_run(experiment, tags={"mlflow.parentRunId": parent}).info.run_id for _ in range(2))
    monkeypatch.setenv("MLFLOW_RUN_ID", first)
    with pytest.raises(ValueError, match="no luck"):
        fail_and_tell(line, "vqgan")
    assert pipeline_run(client, line).info.status == "FAILED"
    monkeypatch.setenv("MLFLOW_RUN_ID", second)
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"total": 1.0}, step=1)
    (nested,) = [run for run in line_runs(client, line) if run.info.run_id != parent]
    assert (nested.info.run_id, nested.data.tags["vigil.attempt"]) == (second, "2")
    reopened = client.get_run(parent)
    assert (reopened.info.status, reopened.data.tags.get("vigil.failed_stage")) == ("RUNNING", None)


def test_run_of_kubeflow_that_is_missing_holds_up_nothing(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"total": 1.0}, step=1)
        run.log_metrics({"auroc": 1.0}, parent=True)
    assert pipeline_run(client, line).data.metrics == {"auroc": 1.0}
    reported = [text for text in capsys.readouterr().err.splitlines() if "MLflow" in text]
    assert [text.partition(" (")[0] for text in reported] == [
        "[vigil] MLflow refused start of vqgan",
        "[vigil] MLflow lacks 2 events, which it refused or which could not be written",
    ]


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
        run.log_params({"seed": 0}, parent=True)
        run.log_params({"seed": 1, "object": "bolt"}, parent=True)
    assert pipeline_run(client, line).data.params == {"seed": "0", "object": "bolt"}


def test_more_parameters_than_one_call_takes(client: MlflowClient, line: str) -> None:
    with stage_run(line, "reporting") as run:
        run.log_params({f"name{index}": index for index in range(130)}, parent=True)
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


def sweep(line: str, minutes: float) -> None:
    """Start another pipeline run of the line so many minutes from now."""
    with stage_run(line, "fingerprint") as run:
        later = int((time.time() + 60 * minutes) * 1000)
        run._transport.put(run.task, Event(kind="sweep", values={}, parent=True, time=later))


def test_run_that_died_between_its_stages_is_failed_by_the_next(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage_run(line, "prompts"):
        pass
    left = pipeline_run(client, line).info.run_id
    monkeypatch.setenv("VIGIL_RUN_ID", "run-2")
    sweep(line, minutes=10)
    assert client.get_run(left).info.status == "RUNNING"
    sweep(line, minutes=16)
    failed = client.get_run(left)
    assert (failed.info.status, failed.data.tags["vigil.failure"].partition(",")[0]) == (
        "FAILED",
        "crashed without a message",
    )
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    with stage_run(line, "vqgan"):
        pass
    went_on = client.get_run(left)
    assert (went_on.info.status, went_on.data.tags.get("vigil.failure")) == ("RUNNING", None)


def test_runs_of_others_in_the_experiment_are_left_alone(
    client: MlflowClient, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = client.create_experiment(line)
    parent = client.create_run(experiment, start_time=0).info.run_id
    nested = client.create_run(experiment, start_time=0, tags={"mlflow.parentRunId": parent}).info.run_id
    sweep(line, minutes=60)
    assert [client.get_run(run_id).info.status for run_id in (parent, nested)] == ["RUNNING", "RUNNING"]
    fingerprint = [run for run in line_runs(client, line) if run.data.tags.get(STAGE_TAG) == "fingerprint"]
    assert [run.info.status for run in fingerprint] == ["FINISHED"]
    assert capsys.readouterr().err == ""


def is_parent(run: Run) -> bool:
    return bool(run.data.tags[STAGE_TAG] == PIPELINE)


def test_stage_goes_on_without_mlflow_and_says_so_once(
    unreachable: None, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_run(line, "vqgan") as run:
        use_everything(run)
        assert len(run.flush()) > 5
        assert run.run_id == ""
    (reported,) = [text for text in capsys.readouterr().err.splitlines() if "MLflow" in text]
    assert reported.startswith("[vigil] MLflow does not answer, the run goes on without it")


def test_database_that_does_not_open_is_written_when_it_does(
    database: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with silent(database, tmp_path, monkeypatch) as answer, stage_run(line, "vqgan") as run:
        assert run.run_id == ""
        assert "MLflow does not answer" in capsys.readouterr().err
        answer()
    assert only_stage_run(MlflowClient(), line, "vqgan").info.status == "FINISHED"


def test_address_of_a_silent_server_is_reported_without_its_password(
    unreachable: None, line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://someone:hush-hush@127.0.0.1:9")
    with stage_run(line, "vqgan"):
        pass
    reported = capsys.readouterr().err
    assert "MLflow does not answer" in reported
    assert "hush-hush" not in reported


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
        run.backfill(tmp_path / "unsent.jsonl")
    found = only_stage_run(client, line, "vqgan")
    assert (found.data.metrics, found.info.status) == ({"total": 1.0}, "FINISHED")
    assert pipeline_run(client, line).data.metrics == {"auroc": 1.0}


def test_run_that_was_begun_before_an_outage_goes_on_after_it(client: MlflowClient, line: str, tmp_path: Path) -> None:
    begun = StageRun(line, "vqgan")
    begun.log_metrics({"total": 1.0}, step=1)
    assert begun.flush() == []
    left = Event(kind="metrics", values={"step": 2, "scalars": {"total": 0.5}})
    ending = Event(kind="end", values={"status": "FINISHED"})
    write_events(tmp_path / "unsent.jsonl", [(begun.task, left), (begun.task, ending)])
    with stage_run(line, "conclusion") as run:
        run.backfill(tmp_path / "unsent.jsonl")
    found = only_stage_run(client, line, "vqgan")
    assert (found.info.run_id, found.info.status) == (begun.run_id, "FINISHED")
    assert [point.step for point in client.get_metric_history(found.info.run_id, "total")] == [1, 2]


def test_cached_stage_has_the_curves_that_its_own_run_could_not_send(
    client: MlflowClient, line: str, tmp_path: Path
) -> None:
    task = Task(line=line, run_id="run-0", stage="vqgan")
    curve = [Event(kind="metrics", values={"step": step, "scalars": {"total": 1 / step}}) for step in (1, 2)]
    others = [
        Event(kind="start", values={}),
        Event(kind="metrics", values={"step": 0, "scalars": {"auroc": 1.0}}, parent=True),
        Event(kind="end", values={"status": "FINISHED"}),
    ]
    write_events(tmp_path / "unsent.jsonl", [(task, event) for event in (others[0], *curve, *others[1:])])
    with stage_run(line, "conclusion") as run:
        run.log_cached("vqgan", "run-0", {"psnr": 20.0})
        run.backfill(tmp_path / "unsent.jsonl", cached=True)
    found = only_stage_run(client, line, "vqgan")
    assert [point.value for point in client.get_metric_history(found.info.run_id, "total")] == [1.0, 0.5]
    assert (found.data.tags["vigil.cached"], found.data.metrics["psnr"]) == ("run-0", 20.0)
    assert pipeline_run(client, line).data.metrics == {}


@contextlib.contextmanager
def silent(database: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Track to a database that does not open until the function that is yielded is called."""
    path = shutil.copy(database.removeprefix("sqlite:///"), folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{path}")
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
        (version,) = connection.execute("select version_num from alembic_version").fetchone()
        connection.execute("update alembic_version set version_num = 'of-another-mlflow'")
        yield lambda: connection.execute("update alembic_version set version_num = ?", [version]).close()


def test_last_stage_waits_for_mlflow(
    database: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("components.tracking.run._POLL_SECONDS", 0.1)
    with silent(database, tmp_path, monkeypatch) as answer, stage_run(line, "conclusion") as run:
        assert run.run_id == ""
        back = threading.Timer(0.3, answer)
        back.start()
        run.wait()
        back.join()
        assert run.run_id
    assert only_stage_run(MlflowClient(), line, "conclusion").info.status == "FINISHED"
    assert capsys.readouterr().err.count("MLflow does not answer") == 1


def test_last_stage_gives_up_in_the_end(unreachable: None, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_MLFLOW_WAIT", "0.5")
    started = time.monotonic()
    with stage_run(line, "conclusion") as run:
        run.wait()
        assert 0.5 <= time.monotonic() - started < 300
        assert run.run_id == ""


@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_time_to_wait_is_checked(unreachable: None, line: str, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VIGIL_MLFLOW_WAIT", value)
    expected = f"VIGIL_MLFLOW_WAIT: got '{value}', expected 0 to 86400 seconds"
    with pytest.raises(InputError, match=expected), stage_run(line, "conclusion") as run:
        run.wait()


def test_nothing_is_left_where_all_was_sent(client: MlflowClient, line: str, tmp_path: Path) -> None:
    with stage_run(line, "vqgan") as run:
        use_everything(run)
        run.leave_unsent(tmp_path / "unsent.jsonl")
    assert not (tmp_path / "unsent.jsonl").exists()


def test_refused_event_is_reported_and_does_not_hold_up_the_others(
    client: MlflowClient, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_run(line, "vqgan") as run:
        run.log_metrics({"not a good name!": 1.0})
        run.log_params({"images": 4})
    assert only_stage_run(client, line, "vqgan").data.params == {"images": "4"}
    assert "MLflow refused metrics of vqgan" in capsys.readouterr().err


def test_every_event_that_a_deleted_run_refuses_is_counted(
    client: MlflowClient, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_run(line, "vqgan") as run:
        client.delete_run(run.run_id)
        for _ in range(3):
            run.log_params({"images": 4})
        run.log_metrics({"auroc": 1.0}, parent=True)
    assert pipeline_run(client, line).data.metrics == {"auroc": 1.0}
    reported = [text for text in capsys.readouterr().err.splitlines() if "MLflow" in text]
    assert reported[0].startswith("[vigil] MLflow refused params of vqgan (")
    assert reported[1:] == ["[vigil] MLflow lacks 4 events, which it refused or which could not be written"]


def test_deleted_experiment_is_named_with_the_command_that_restores_it_and_loses_nothing(
    client: MlflowClient, line: str, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    number = client.create_experiment(line)
    client.delete_experiment(number)
    command = f"`MLFLOW_TRACKING_URI={database} mlflow experiments restore --experiment-id {number}`"
    with stage_run(line, "registration", direct=True) as run:
        run.log_params({"images": 4})
        with pytest.raises(InputError, match=f"MLflow: the experiment {line} is deleted") as caught:
            _ = run.run_id
        assert str(caught.value).endswith(f"; {command} restores it")
        client.restore_experiment(number)
        assert run.run_id
    assert only_stage_run(client, line, "registration").data.params == {"images": "4"}
    (reported,) = [text for text in capsys.readouterr().err.splitlines() if "MLflow" in text]
    assert reported == f"[vigil] {caught.value}"


def test_event_that_cannot_be_written_is_reported_and_does_not_hold_up_the_others(
    client: MlflowClient, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with stage_run(line, "vqgan") as run:
        run._transport.put(run.task, Event(kind="metrics", values={}))
        run.log_params({"images": 4})
    assert only_stage_run(client, line, "vqgan").data.params == {"images": "4"}
    reported = capsys.readouterr().err
    assert "[vigil] metrics of vqgan is not recorded in MLflow (KeyError: 'scalars')\n" in reported
    assert "MLflow lacks 1 events" in reported


@pytest.mark.skipif(find_spec("pysftp") is not None, reason="the client of this kind of store is installed")
def test_store_whose_client_is_not_installed_is_reported_and_not_waited_for(
    client: MlflowClient, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client.create_experiment(line, artifact_location="sftp://nobody@127.0.0.1/artifacts")
    with stage_run(line, "vqgan") as run:
        run.log_file(b"text", "a.txt")
        run.log_params({"images": 4})
        assert run.flush() == []
    assert only_stage_run(client, line, "vqgan").data.params == {"images": "4"}
    assert "file of vqgan is not recorded in MLflow (ModuleNotFoundError: " in capsys.readouterr().err


class Answer(BaseHTTPRequestHandler):
    """Answers everything with one status and body."""

    status, body = 200, b""

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def do_POST(self) -> None:
        self.do_GET()

    def do_PUT(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


@contextlib.contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Address of a server that gives every request the same answer."""
    handler = type("Handler", (Answer,), {"status": status, "body": body})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "reported"),
    [
        (401, b"You are not authenticated", "does not answer"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "no"}', "does not answer"),
        (404, b"<html>no such page</html>", "does not answer"),
        (429, b"too many", "does not answer"),
        (400, b'{"error_code": "INVALID_PARAMETER_VALUE", "message": "no"}', "refused start"),
        (413, b"<html>too large</html>", "refused start"),
        (422, b"<html>no</html>", "refused start"),
    ],
)
def test_only_what_will_always_be_refused_is_dropped(
    unreachable: None,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    status: int,
    body: bytes,
    reported: str,
) -> None:
    with answering(status, body) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with stage_run(line, "vqgan") as run:
            run.log_params({"images": 4})
            kept = [event.kind for _, event in run.flush()]
    assert kept == ([] if reported == "refused start" else ["start", "params"])
    assert f"MLflow {reported}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "kept", "reported"),
    [(403, ["file"], "MLflow's artifact store does not answer"), (413, [], "MLflow refused file of vqgan")],
)
def test_file_waits_unless_its_store_will_always_refuse_it(
    client: MlflowClient, line: str, capsys: pytest.CaptureFixture[str], status: int, kept: list[str], reported: str
) -> None:
    with answering(status, b"no") as address:
        client.create_experiment(line, artifact_location=f"{address}/artifacts")
        with stage_run(line, "vqgan") as run:
            run.log_file(b"text", "a.txt")
            assert [event.kind for _, event in run.flush()] == kept
    assert reported in capsys.readouterr().err


def test_files_wait_for_their_store_and_hold_up_nothing_else(
    client: MlflowClient, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    store.write_text("no folder", encoding="utf-8")
    client.create_experiment(line, artifact_location=(store / "artifacts").as_uri())
    with stage_run(line, "vqgan") as run:
        for name in ("a.txt", "b.txt"):
            run.log_file(b"text", name)
        run.log_failure("FAILED", "no luck", "the last lines")
        left = run.flush()
        assert {event.values["name"] for _, event in left} == {"a.txt", "b.txt", "failure.txt"}
        failed = pipeline_run(client, line)
        assert (failed.info.status, failed.data.tags["vigil.failed_stage"]) == ("FAILED", "vqgan")
        store.unlink()
        assert run.flush() == []
    names = [file.path for file in client.list_artifacts(failed.info.run_id)]
    assert names == ["a.txt", "b.txt", "failure.txt"]
    assert capsys.readouterr().err.count("artifact store does not answer, files wait") == 1


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


def test_processes_of_a_local_run_say_once_that_mlflow_is_silent(
    unreachable: None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = tmp_path / "spool"
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(spool))
    for _ in range(2):
        with published(spool) as publish:
            for stage, direct in (("vqgan", False), ("registration", True), ("conclusion", True)):
                with stage_run(line, stage, direct=direct):
                    pass
            assert not publish()
        assert capsys.readouterr().err.count("MLflow does not answer") == 1


def test_damaged_line_of_a_spool_is_reported_and_lost(
    client: MlflowClient, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(tmp_path))
    with published(tmp_path) as publish:
        with stage_run(line, "vqgan") as run:
            run.log_params({"images": 4})
            (file,) = tmp_path.iterdir()
            with file.open("a", encoding="utf-8") as lines:
                lines.write('{"task": {"li\n')
            run.log_metrics({"total": 1.0}, step=1)
        assert publish()
    found = only_stage_run(client, line, "vqgan")
    assert (found.data.params, found.data.metrics, found.info.status) == ({"images": "4"}, {"total": 1.0}, "FINISHED")
    assert capsys.readouterr().err.count("a damaged line is not recorded in MLflow") == 1


def test_spool_keeps_only_what_could_not_be_sent(
    client: MlflowClient, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, spool = tmp_path / "store", tmp_path / "spool"
    store.write_text("no folder", encoding="utf-8")
    client.create_experiment(line, artifact_location=(store / "artifacts").as_uri())
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(spool))
    with published(spool) as publish:
        with stage_run(line, "vqgan") as run:
            use_everything(run)
        record_end(line, "FINISHED")
        assert not publish()
    (file,) = spool.iterdir()
    assert [event.kind for _, event in read_events(file)] == ["file"]
    assert pipeline_run(client, line).info.status == "FINISHED"
    store.unlink()
    with published(spool) as publish:
        assert publish()
    assert only_stage_run(client, line, "vqgan").data.tags["vigil.attempt"] == "1"
    assert [file.path for file in client.list_artifacts(pipeline_run(client, line).info.run_id)] == ["folder"]


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
