"""Samples of what a stage asks of its machine, under the names that MLflow shows on a run's system page."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from components.tracking.events import HEARTBEAT
from components.tracking.run import StageRun

_INTERVAL_SECONDS = 10.0
_MEGABYTE = 1e6


@contextmanager
def sampled_system_metrics(run: StageRun, interval: float = _INTERVAL_SECONDS) -> Iterator[None]:
    """Log processor, memory and, where torch uses one, accelerator load while the block runs.

    Args:
        run: recording of the stage; nothing is sampled when it is off.
        interval: seconds between samples; a block that ends sooner leaves none.
    """
    if not run.active:
        yield
        return
    stop = threading.Event()
    thread = threading.Thread(target=_sample, args=(run, interval, stop), daemon=True, name="system-metrics")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def system_metrics(process: psutil.Process) -> dict[str, float]:
    """Load of the machine in percent, and memory of the process and of the machine in megabytes."""
    memory = psutil.virtual_memory()
    load = {
        HEARTBEAT: psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / _MEGABYTE,
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_usage_megabytes": process.memory_info().rss / _MEGABYTE,
    }
    return load | _accelerator_metrics()


def _sample(run: StageRun, interval: float, stop: threading.Event) -> None:
    process = psutil.Process()
    psutil.cpu_percent()  # the first call has nothing to compare with
    step = 0
    while not stop.wait(interval):
        run.log_metrics(system_metrics(process), step)
        step += 1


def _accelerator_metrics() -> dict[str, float]:
    """Memory on the accelerators, once the stage itself has loaded torch.

    While it loads, which takes longer than an interval on a busy machine, `torch` is there without `cuda`.
    """
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is None or not cuda.is_available():
        return {}
    return {
        f"system/gpu_{index}_memory_usage_megabytes": cuda.memory_allocated(index) / _MEGABYTE
        for index in range(cuda.device_count())
    }
