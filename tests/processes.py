"""Processes that start at once, for tests of races."""

import multiprocessing
from typing import Any

SECONDS = 300
"""How long a process may take, and wait for another."""
CONTEXT = multiprocessing.get_context("spawn")


def run_processes(*calls: tuple[Any, tuple[Any, ...]]) -> list[int | None]:
    """Call functions with arguments, each in a process of its own, and return the exit codes."""
    processes = [CONTEXT.Process(target=target, args=arguments) for target, arguments in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
        process.kill()
    return [process.exitcode for process in processes]
