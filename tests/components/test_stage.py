"""Tests of what surrounds every stage, with tracking off."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from kfp.dsl import Metrics

from components import __version__
from components.artifacts import SUMMARY, read_json
from components.augmentation.config import Config
from components.errors import InputError
from components.stage import stage

Printed = Callable[[], list[str]]


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    return Metrics(name="metrics", uri=str(tmp_path / "metrics"))


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Printed:
    """Returns the lines printed since the last call."""

    def read() -> list[str]:
        return capsys.readouterr().out.splitlines()

    return read


def fail(error: BaseException) -> None:
    with pytest.raises(type(error)), stage("vqgan", "bolts"):
        raise error


def report_steps(total: int, steps: Sequence[int]) -> None:
    with stage("vqgan", "bolts") as run:
        for step in steps:
            run.progress(step, total, {"total": 1 / step, "mse": 0.25})


def test_start_and_end_are_told(printed: Printed) -> None:
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


def test_finish_without_an_artifact_writes_the_metrics_only(tmp_path: Path, metrics: Metrics) -> None:
    with stage("reporting", "bolts") as run:
        run.finish(None, {"gain": 0.5}, metrics)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics"]


def test_configure_returns_the_config() -> None:
    config = Config(images=3)
    with stage("augmentation", "bolts") as run:
        assert run.configure(config) is config


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (InputError("image a.png: damaged"), "input-error: image a.png: damaged"),
        (InputError("first\n  second"), "input-error: first second"),
        (OSError(28, "No space left on device"), "failure: [Errno 28] No space left on device"),
        (ValueError("three\nlines\n\nof text"), "failure: ValueError: three lines of text"),
        (RuntimeError(), "failure: RuntimeError:"),
        (OSError(), "failure: OSError"),
        (KeyboardInterrupt(), "failure: KeyboardInterrupt:"),
    ],
)
def test_failure_is_told_in_one_line(printed: Printed, error: BaseException, told: str) -> None:
    fail(error)
    assert printed() == ["[vigil] vqgan: started", f"[vigil] vqgan: {told}"]


def test_progress_is_throttled_and_the_last_step_is_told(printed: Printed) -> None:
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
