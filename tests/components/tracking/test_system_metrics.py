"""Tests of the samples of a stage's machine."""

import sys
import time
import types
from pathlib import Path

import psutil
import pytest

from components.tracking.events import read_events
from components.tracking.run import StageRun
from components.tracking.system_metrics import sampled_system_metrics, system_metrics

NAMES = {
    "system/cpu_utilization_percentage",
    "system/system_memory_usage_megabytes",
    "system/system_memory_usage_percentage",
    "system/process_memory_usage_megabytes",
}


def test_figures_are_plausible() -> None:
    found = system_metrics(psutil.Process())
    assert set(found) >= NAMES
    assert 5 < found["system/process_memory_usage_megabytes"] < found["system/system_memory_usage_megabytes"]
    assert 0 <= found["system/cpu_utilization_percentage"] <= 100


def test_samples_are_recorded_while_the_block_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("VIGIL_TRACKING_SPOOL", str(tmp_path))
    run = StageRun("bolts", "vqgan")
    with sampled_system_metrics(run, interval=0.05):
        time.sleep(0.5)
    (file,) = tmp_path.iterdir()
    samples = [event.values for _, event in read_events(file) if event.kind == "metrics"]
    assert len(samples) >= 3
    assert [sample["step"] for sample in samples] == list(range(len(samples)))
    assert all(set(sample["scalars"]) >= NAMES for sample in samples)


def test_nothing_is_sampled_without_tracking() -> None:
    with sampled_system_metrics(StageRun("bolts", "vqgan"), interval=0.01):
        time.sleep(0.05)


def test_torch_that_is_still_loading_is_no_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    assert set(system_metrics(psutil.Process())) == NAMES
