"""One seed decides every generator, and a quota or an affinity the number of threads."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl
import torch

from components import compute
from components.compute import device, placed, seed_everything, set_threads, thread_limit, usable_cores


@pytest.fixture(autouse=True)
def earlier_setting() -> Iterator[None]:
    """Give torch its setting back."""
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def _draw(seed: int) -> tuple[float, float, float]:
    seed_everything(seed)
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_equal_seeds_draw_equal_numbers() -> None:
    assert _draw(3) == _draw(3)


def test_another_seed_changes_every_generator() -> None:
    assert all(first != second for first, second in zip(_draw(0), _draw(1), strict=True))


def test_torch_is_asked_for_deterministic_algorithms() -> None:
    torch.use_deterministic_algorithms(False)

    seed_everything(0)

    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_device_is_the_accelerator_where_there_is_one() -> None:
    assert device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert device().type == "cpu" or not torch.backends.cudnn.allow_tf32


def test_placed_networks_compute_in_channels_last() -> None:
    network = placed(torch.nn.Conv2d(3, 8, 3))
    computed = network(torch.rand(2, 3, 8, 8))
    assert computed.is_contiguous(memory_format=torch.channels_last)
    assert not computed.is_contiguous()


def control_groups(folder: Path, own: str, **files: str) -> int:
    """Usable cores in a control group; `files` are contents by path, with `__` for a separator."""
    for name, content in files.items():
        path = folder / name.replace("__", "/").replace("_max", ".max").replace("cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (folder / "own").write_text(own)
    return usable_cores(folder, folder / "own")


@pytest.mark.parametrize(("quota", "expected"), [("200000", 2), ("250000", 2), ("50000", 1), ("max", 64)])
def test_quota_of_version_2(tmp_path: Path, cores: None, quota: str, expected: int) -> None:
    assert control_groups(tmp_path, "0::/\n", cpu_max=f"{quota} 100000\n") == expected


def test_quota_of_a_group_above(tmp_path: Path, cores: None) -> None:
    files = {"pod__cpu_max": "300000 100000\n", "pod__main__cpu_max": "max 100000\n"}
    assert control_groups(tmp_path, "0::/pod/main\n", **files) == 3


@pytest.mark.parametrize(("quota", "expected"), [("400000", 4), ("-1", 64)])
def test_quota_of_version_1(tmp_path: Path, cores: None, quota: str, expected: int) -> None:
    files = {"cpu__pod__cfs_quota_us": f"{quota}\n", "cpu__pod__cfs_period_us": "100000\n"}
    assert control_groups(tmp_path, "3:cpuset:/\n2:cpu,cpuacct:/pod\n0::/\n", **files) == expected


def test_without_control_groups_affinity_decides(tmp_path: Path, cores: None) -> None:
    assert usable_cores(tmp_path, tmp_path / "none") == 64


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of 64 cores, all of them in the affinity."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(os, "cpu_count", lambda: 64)


def test_threads_are_limited_only_where_something_limits_them(cores: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for usable, share, expected in ((64, 1, 0), (64, 2, 32), (2, 1, 2), (2, 4, 1)):
        monkeypatch.setattr(compute, "usable_cores", lambda usable=usable: usable)
        assert thread_limit(share) == expected
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert thread_limit(4) == 5


def test_threads_are_set_for_loaded_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "9")
    before = torch.get_num_threads()
    pools = threadpoolctl.threadpool_info()
    try:
        set_threads(3)
        assert torch.get_num_threads() == 3
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} == {3}
        assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    finally:
        for pool in pools:
            threadpoolctl.threadpool_limits({pool["prefix"]: pool["num_threads"]})
        torch.set_num_threads(before)
