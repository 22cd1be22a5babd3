"""Runs the tasks of an experiment on this machine; what an earlier run finished is reused."""

import inspect
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from graphlib import TopologicalSorter
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import RLock, Thread
from typing import Any

from components.artifacts import read_json, write_json
from components.compute import set_threads
from components.stage.progress import ignore_progress
from pipelines.experiments.nodes import Node
from pipelines.lines.stages import STAGES
from pipelines.local.processes import interruptible

_FACTS = "task.json"


@dataclass(frozen=True, kw_only=True)
class Store:
    """Artifacts of finished tasks, by the tasks' keys and the number of threads, on which digits depend too."""

    root: Path
    threads: int
    """On which each task computes."""

    def place(self, node: Node) -> Path:
        """Folder of a task."""
        return self.root / node.stage / f"{node.key[:24]}-{self.threads}"

    def output(self, node: Node) -> Path:
        """Artifact of a task."""
        return self.place(node) / "output"

    def finished(self, node: Node) -> bool:
        """Whether the artifact is there, complete."""
        return (self.place(node) / _FACTS).is_file()

    def seconds(self, node: Node) -> float:
        """What a finished task took."""
        return float(read_json(self.place(node) / _FACTS)["seconds"])

    def finish(self, node: Node, seconds: float) -> None:
        """Mark a task as finished."""
        write_json(self.place(node) / _FACTS, {"key": node.key, "stage": node.stage, "seconds": seconds})


def run_nodes(
    nodes: Iterable[Node], store: Store, jobs: int, log: Path, on_task: Callable[[Node, float], None]
) -> None:
    """Run the tasks that are not finished, parents first.

    `nodes` holds their parents too; `jobs` tasks run at once, each in a process, and append their output to the log;
    `on_task` is called with every finished task and its seconds.

    Raises:
        InputError: a task found something wrong with what the user gave.
        RuntimeError: a task's process crashed.
    """
    missing = {node.key: node for node in nodes if not store.finished(node)}
    graph = {key: {parent.key for parent in node.parents if parent.key in missing} for key, node in missing.items()}
    sorter, running = TopologicalSorter(graph), dict[Future[float], str]()
    sorter.prepare()
    with interruptible(), _workers(jobs, store.threads, log) as pool:
        while sorter.is_active():
            running |= {pool.submit(run_node, missing[key], store): key for key in sorter.get_ready()}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key = running.pop(future)
                try:
                    seconds = future.result()
                except BrokenProcessPool as error:
                    message = f"task {missing[key].stage} or another crashed, perhaps out of memory; see {log}"
                    raise RuntimeError(message) from error
                on_task(missing[key], seconds)
                sorter.done(key)


def run_node(node: Node, store: Store) -> float:
    """Run one task whose parents are finished, and return its seconds.

    It is finished unless another run may give more: figures of quality whose weights could not be fetched.
    """
    from components.quality.measure import is_final

    started = time.perf_counter()
    output = store.output(node)
    output.parent.mkdir(parents=True, exist_ok=True)
    artifacts: dict[str, Any] = {name: store.output(parent) for name, parent in node.inputs.items()}
    artifacts["detectors"] = [store.output(parent) for parent in node.detectors]
    function = STAGES[node.stage].function
    names = inspect.signature(function).parameters
    given = {name: artifacts[name] for name in names if name in artifacts}
    left = [name for name in names if name not in artifacts]
    results: tuple[Any, ...]
    match node.stage:
        case "dataset" | "image_folder":
            results = (output, node.config, node.data)
        case "vqgan":
            results = (output, output.with_name("generator"), node.config, ignore_progress)
        case "vqgan_clip":
            results = (output, node.config, ignore_progress)
        case _:
            results = (output, node.config)
    function(**given, **dict(zip(left, results, strict=False)))
    seconds = time.perf_counter() - started
    if node.stage != "quality" or is_final(output):
        store.finish(node, seconds)
    return seconds


@contextmanager
def _workers(jobs: int, threads: int, log: Path) -> Iterator[ProcessPoolExecutor]:
    """Processes that are killed when the block fails; the next run repeats their unfinished tasks."""
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), _begin, (threads, log))
    try:
        yield pool
    except BaseException:
        for worker in active_children():
            worker.kill()
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown()


def _begin(threads: int, log: Path) -> None:
    """Set a worker's number of threads, append its output to the log, and end it when its parent is killed.

    Progress bars get a lock of the worker's own: theirs would be reported as leaked when the worker is killed.
    """

    def end_with_parent() -> None:
        if (parent := parent_process()) is not None:
            parent.join()
            os._exit(1)

    with log.open("a") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    Thread(target=end_with_parent, daemon=True).start()
    from tqdm import tqdm

    tqdm.set_lock(RLock())
    set_threads(threads)
