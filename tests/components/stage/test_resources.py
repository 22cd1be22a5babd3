"""A stage keeps to the cores that it may use, and does not train on the processor where a GPU was asked for."""

import os

import pytest
import torch

from components.errors import InputError
from components.stage import resources
from components.stage.resources import AT_ONCE, GPUS, limit_threads, require_gpus


def test_tasks_at_once_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    limits: list[int] = []
    monkeypatch.setattr(resources, "set_threads", limits.append)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("components.compute.usable_cores", lambda: 8)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    for at_once, stage in (
        ("", "detection patchcore/none"),
        ("detection=2", "evaluation"),
        ("detection=1", "detection patchcore/none"),
        ("detection=2", "detection patchcore/none"),
    ):
        monkeypatch.setenv(AT_ONCE, at_once)
        limit_threads(stage)
    assert limits == [4]


def test_a_gpu_that_is_not_usable_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    require_gpus()
    monkeypatch.setenv(GPUS, "0")
    require_gpus()
    monkeypatch.setenv(GPUS, str(torch.cuda.device_count() + 1))
    with pytest.raises(InputError, match=r"^GPU: [0-9]+ asked for and not usable \(torch finds .*cluster$"):
        require_gpus()


def test_a_driver_without_the_version_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GPUS, "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match=r"^GPU: 1 asked for and not usable \(\S+"):
            require_gpus()
