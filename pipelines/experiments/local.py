"""Runs an experiment on this machine: its tasks, its table and its page."""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from components.compute import usable_cores
from components.generator.checkpoint import CHECKPOINTS
from components.tabulation.gather import RESULTS, gather, read_results
from components.tabulation.page import write_page
from pipelines.experiments.estimate import family
from pipelines.experiments.nodes import Cell, Node, in_order
from pipelines.experiments.running import Store, run_nodes
from pipelines.local.workdir import FINISHED, open_workdir

_OWNER = "experiments"
"""Owner of the folder, in place of a line."""


Report = Callable[[int, int, str, float], None]
"""Called with the number of finished tasks, the number of all, the last task and its seconds."""


class Result(NamedTuple):
    """What an experiment left."""

    table: Path
    page: Path


def store_of(workdir: Path, jobs: int) -> Store:
    """Finished tasks below a working folder that computed on as many threads as each of `jobs` tasks at once does.

    Each has its share of the cores, and no more than torch would take.
    """
    import torch

    threads = max(1, min(torch.get_num_threads(), usable_cores() // jobs))
    return Store(root=workdir.resolve() / "tasks", threads=threads)


def run_experiment(
    name: str, cells: Sequence[Cell], settings: dict[str, str], workdir: Path, jobs: int, report: Report
) -> Result:
    """Run what is left of an experiment, and write its table and its page.

    Experiments share the working folder of tables, pages and finished tasks; `jobs` tasks run at once. `settings` are
    shown on the page. After an interruption, the same call goes on. Raises `InputError` where a task found something
    wrong with what the user gave, and `RuntimeError` where one failed otherwise; see `NAME.log` in the folder.
    """
    nodes = in_order(cells)
    store = store_of(workdir, jobs)
    with open_workdir(workdir, _OWNER) as folder, _checkpoints(folder.checkpoints, store.threads):
        run_id = folder.begin(_OWNER)
        done = [node.key for node in nodes if store.finished(node)]

        def on_task(node: Node, seconds: float) -> None:
            done.append(node.key)
            report(len(done), len(nodes), family(node), seconds)

        run_nodes(nodes, store, jobs, folder.root / f"{name}.log", on_task)
        result = Result(folder.root / f"{name}.parquet", folder.root / f"{name}.html")
        gathered = folder.root / f".{name}"
        gather([cell.labels for cell in cells], [store.output(cell.node) for cell in cells], gathered)
        write_page(name, read_results(gathered), settings, result.page, datetime.now(tz=UTC))
        (gathered / RESULTS).replace(result.table)
        shutil.rmtree(gathered)
        folder.set_status(_OWNER, run_id, FINISHED)
    return result


@contextmanager
def _checkpoints(folder: Path, threads: int) -> Iterator[None]:
    """Keep the state of loops below the working folder, unless another place is set, apart by the number of threads."""
    before = os.environ.get(CHECKPOINTS)
    os.environ[CHECKPOINTS] = f"{(before or str(folder)).rstrip('/')}/threads-{threads}"
    try:
        yield
    finally:
        if before is None:
            del os.environ[CHECKPOINTS]
        else:
            os.environ[CHECKPOINTS] = before
