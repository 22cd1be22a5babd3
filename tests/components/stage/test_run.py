"""Tests of what surrounds every stage, with tracking off."""

import json
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from kfp.dsl import Metrics

from components import __version__
from components.artifacts import SUMMARY, read_json
from components.augmentation.config import Config
from components.errors import InputError
from components.stage.run import Stage, stage
from components.tracking.events import Event, read_events

Printed = Callable[[], list[str]]


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    return Metrics(name="metrics", uri=str(tmp_path / "metrics"))


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Returns the lines logged since the last call."""

    def read() -> list[str]:
        return capsys.readouterr().err.splitlines()

    return read


def fail(error: BaseException) -> None:
    with pytest.raises(type(error)), stage("vqgan", "bolts"):
        raise error


def report_steps(total: int, steps: Sequence[int]) -> None:
    with stage("vqgan", "bolts") as run:
        for step in steps:
            run.progress(step, total, {"total": 1 / step, "mse": 0.25})


def test_start_and_end_are_logged(printed: Printed) -> None:
    with stage("vqgan", "bolts"):
        assert printed() == ["[vigil] vqgan: started"]
    (line,) = printed()
    assert line.startswith("[vigil] vqgan: done in 0.")


def test_finish_writes_the_summary(tmp_path: Path, metrics: Metrics) -> None:
    with stage("vqgan", "bolts") as run:
        run.finish(tmp_path, {"psnr": 20.5, "generator_start": "untrained"}, metrics)
    summary = read_json(tmp_path / SUMMARY)
    assert summary["psnr"] == 20.5
    assert summary["generator_start"] == "untrained"
    assert summary["vigil"] == __version__
    assert "torch" in summary["versions"]
    assert 0 <= summary["seconds"] < 60
    assert 10 < summary["peak_memory_mb"] < 100_000


def test_finish_logs_numbers_as_metrics(tmp_path: Path, metrics: Metrics) -> None:
    with stage("vqgan", "bolts") as run:
        run.finish(tmp_path, {"psnr": 20.5, "images": 3, "generator_start": "untrained"}, metrics)
    assert read_json(Path(metrics.path)) == metrics.metadata
    assert set(metrics.metadata) == {"psnr", "images", "seconds", "peak_memory_mb"}
    assert (metrics.metadata["psnr"], metrics.metadata["images"]) == (20.5, 3.0)


def test_metrics_that_are_no_numbers_do_not_fail_a_finished_task(
    tmp_path: Path, metrics: Metrics, printed: Printed
) -> None:
    with stage("vqgan", "bolts") as run:
        run.finish(tmp_path, {"psnr": float("nan"), "loss": float("inf"), "images": 3}, metrics)
    assert set(metrics.metadata) == {"images", "seconds", "peak_memory_mb"}
    assert json.dumps(metrics.metadata, allow_nan=False)
    assert "[vigil] vqgan: psnr is nan, which is no metric of Kubeflow, and left out" in printed()


def test_finish_without_an_artifact_writes_the_metrics_only(tmp_path: Path, metrics: Metrics) -> None:
    with stage("reporting", "bolts") as run:
        run.finish(None, {"gain": 0.5}, metrics)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]


def test_configure_returns_the_config() -> None:
    config = Config(images=3)
    with stage("augmentation", "bolts") as run:
        assert run.configure(config) is config


@pytest.mark.parametrize(
    ("error", "logged"),
    [
        (InputError("image a.png: damaged"), "input-error: image a.png: damaged"),
        (InputError("first\n  second"), "input-error: first second"),
        (OSError(28, "No space left on device"), "failure: [Errno 28] No space left on device"),
        (ValueError("three\nlines\n\nof text"), "failure: ValueError: three lines of text"),
        (RuntimeError(), "failure: RuntimeError:"),
        (RuntimeError("GET http://ann:secret@mlflow:5000/api"), "failure: RuntimeError: GET http://mlflow:5000/api"),
        (OSError(), "failure: OSError"),
        (KeyboardInterrupt(), "failure: KeyboardInterrupt:"),
    ],
)
def test_failure_is_logged_in_one_line(printed: Printed, error: BaseException, logged: str) -> None:
    fail(error)
    assert printed() == ["[vigil] vqgan: started", f"[vigil] vqgan: {logged}"]


def test_progress_is_throttled_and_the_last_step_is_logged(printed: Printed) -> None:
    report_steps(50, range(1, 51))
    first, last = printed()[1:-1]
    assert first.startswith("[vigil] vqgan: step 1/50, ")
    assert last == "[vigil] vqgan: step 50/50, 0 s left, total=0.02 mse=0.25"


def test_tracking_is_off_without_a_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, metrics: Metrics) -> None:
    monkeypatch.chdir(tmp_path)
    with stage("vqgan", "bolts") as run:
        assert not run.tracker.active
        run.configure(Config())
        run.progress(1, 1, {"total": 1.0})
        run.finish(None, {"psnr": 1.0, "generator_start": "untrained"}, metrics)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]


def test_failed_stage_ends_the_pipeline_run_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_after_a_line() -> None:
        with spooled_stage(tmp_path, monkeypatch):
            print("the last step")
            raise RuntimeError("no luck")

    with pytest.raises(RuntimeError, match="no luck"):
        fail_after_a_line()
    failure = only_failure(tmp_path)
    assert (failure["stage"], failure["status"], failure["message"]) == ("vqgan", "FAILED", "RuntimeError: no luck")
    assert "the last step\n" in failure["log"]
    assert "Traceback" in failure["log"]


def test_failure_keeps_no_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail_with_an_address() -> None:
        with spooled_stage(tmp_path, monkeypatch):
            print("connecting to http://ann:secret@mlflow:5000")
            raise RuntimeError("postgresql://ann:secret@database/mlflow is locked")

    with pytest.raises(RuntimeError):
        fail_with_an_address()
    failure = only_failure(tmp_path)
    assert failure["message"] == "RuntimeError: postgresql://database/mlflow is locked"
    assert "connecting to http://mlflow:5000\n" in failure["log"]
    assert "secret@" not in json.dumps(failure)
    assert "secret@database" not in "".join(capsys.readouterr())


def test_bad_input_is_recorded_without_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError), spooled_stage(tmp_path, monkeypatch):
        raise InputError("seed: got -1")
    assert "Traceback" not in only_failure(tmp_path)["log"]


def test_terminated_stage_is_killed_and_not_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), spooled_stage(tmp_path, monkeypatch):
        signal.raise_signal(signal.SIGTERM)
    assert only_failure(tmp_path)["status"] == "KILLED"
    assert signal.getsignal(signal.SIGTERM) == before


def test_pipeline_run_records_what_it_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_KFP_UI", "http://kubeflow")
    settings = {"line": "bolts", "object": "bolt", "profile": "embedded", "dataset_shots": 1, "seed": 3, "images": 4}
    with spooled_stage(tmp_path, monkeypatch) as run:
        run.describe_run(json.dumps(settings), "s3://lines/bolts", "abc")
    events = {event.kind: event.values for event in spooled(tmp_path) if event.parent}
    assert events["params"]["images"] == "4"
    tags = events["tags"]
    assert (tags["vigil.object"], tags["vigil.shots"], tags["vigil.seed"]) == ("bolt", "1", "3")
    assert tags["vigil.run_url"] == "http://kubeflow/#/runs/details/run-1"
    assert events["dataset"] == {"source": "s3://lines/bolts", "name": "bolts", "digest": "abc"}


def test_summary_says_which_run_computed_it(tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    with stage("vqgan", "bolts") as run:
        run.finish(tmp_path, {}, metrics)
    summary = read_json(tmp_path / SUMMARY)
    assert (summary["stage"], summary["run_id"]) == ("vqgan", "run-1")


def spooled_stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AbstractContextManager[Stage]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(folder / "spool"))
    monkeypatch.setenv("VIGIL_RUN_ID", "run-1")
    return stage("vqgan", "bolts")


def spooled(folder: Path) -> list[Event]:
    (file,) = (folder / "spool").iterdir()
    return [event for _, event in read_events(file)]


def only_failure(folder: Path) -> Mapping[str, Any]:
    (failure,) = [event for event in spooled(folder) if event.kind == "failure"]
    return failure.values
