import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from pipelines.local.processes import interruptible, own_processes


def test_processes_that_the_block_started_end_with_it() -> None:
    with own_processes():
        process = subprocess.Popen(["sleep", "600"])
    assert not psutil.pid_exists(process.pid)


def test_earlier_processes_are_left_alone() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        with own_processes():
            pass
        assert process.poll() is None
        process.kill()


def terminate() -> None:
    """End this process, and go on waiting."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(600)


def wait_for_a_thread(ended: list[int]) -> None:
    """Be terminated while a thread of the block waits for a process; whose end is noted."""

    def wait() -> None:
        process = subprocess.Popen(["sleep", "600"])
        process.wait()
        ended.append(process.pid)

    with own_processes(), ThreadPoolExecutor(1) as pool:
        pool.submit(wait)
        while not psutil.Process().children():
            time.sleep(0.01)
        terminate()


def test_termination_ends_processes_that_a_thread_waits_for() -> None:
    """Without that, leaving the pool would wait for all that is queued in it."""
    before, ended = signal.getsignal(signal.SIGTERM), list[int]()
    with pytest.raises(KeyboardInterrupt):
        wait_for_a_thread(ended)
    assert len(ended) == 1
    assert signal.getsignal(signal.SIGTERM) is before


def test_termination_is_an_interruption() -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        terminate()
