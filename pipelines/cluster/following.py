"""Follows a run on a cluster until it ends, and reports what failed in it."""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from pipelines.cluster.kubeflow import NOT_FOUND, Kubeflow
from pipelines.cluster.transport import ClusterAnswerError, ClusterError

SUCCEEDED = "SUCCEEDED"
POLL_SECONDS = 5.0
PATIENCE_SECONDS = 600.0
"""How long requests are repeated that the cluster does not answer."""
_FAILED = "FAILED"
_ENDED = (SUCCEEDED, _FAILED, "SKIPPED", "CANCELED")
_CONTAINER = re.compile(r"executor(\(\d+\))?")
_HIDDEN = re.compile(r"root|executor(\(\d+\))?|.*-driver|iteration-.*")
_NO_TEXT = "the server gives no error text, see the run's page"


def follow_run(cluster: Kubeflow, run_id: str, report: Callable[[str], None]) -> Any:
    """Report the states of a run and of its tasks as they change, until it ends; return kfp_server_api's `V2beta1Run`.

    `report` takes one line for each change, with the time since the first request. Raises `ClusterError` where the
    cluster has no such run, or has not answered for `PATIENCE_SECONDS`.
    """
    started, known = time.monotonic(), dict[str, str]()
    answered = started

    def log(message: str) -> None:
        report(f"[{timedelta(seconds=int(time.monotonic() - started))}] {message}")

    while True:
        try:
            run = cluster.run(run_id)
        except ClusterError as error:
            missing = isinstance(error, ClusterAnswerError) and error.status == NOT_FOUND
            if missing or time.monotonic() > answered + PATIENCE_SECONDS:
                raise
            log(f"cannot read the run's state: {error}; trying again")
        else:
            answered, earlier, known = time.monotonic(), known, _states(run)
            for name, state in known.items():
                if earlier.get(name) != state:
                    log(f"{name}: {state}")
            if run.state in _ENDED:
                return run
        time.sleep(POLL_SECONDS)


def failure_of(run: Any) -> str:
    """What failed in a run: the tasks with their error texts, and the run's own, in one line."""
    tasks = _tasks(run)
    known = {key: task for task in tasks for key in (task.task_id, task.pod_name) if key}
    parents: dict[int, list[Any]] = {}  # by the identity of the child; a task's predecessors are among its parents
    for parent in tasks:
        for child in parent.child_tasks or []:
            for key in {child.task_id, child.pod_name} & known.keys():
                parents.setdefault(id(known[key]), []).append(parent)
    failed = [task for task in tasks if task.state == _FAILED]
    outer = {id(parent) for task in failed for parent in parents.get(id(task), [])}
    causes = []
    for task in failed:
        if id(task) not in outer:
            named = task  # a container bears the name of the task that it belongs to
            while _CONTAINER.fullmatch(str(named.display_name)) and id(named) in parents:
                named = parents[id(named)][0]
            causes.append(f"task {named.display_name or named.task_id} failed: {_error(task) or _NO_TEXT}")
    return "; ".join(dict.fromkeys(filter(None, [*causes, _error(run)]))) or f"no task is named; {_NO_TEXT}"


def _states(run: Any) -> dict[str, str]:
    """State of the run and of each task; tasks of one name, as those of a loop, are counted."""
    counts: dict[str, Counter[str]] = {}
    for task in _tasks(run):
        name = str(task.display_name or task.task_id)
        if not _HIDDEN.fullmatch(name) and task.state:
            counts.setdefault(name, Counter())[str(task.state).lower()] += 1
    states = {
        name: ", ".join(f"{number} {state}" if count.total() > 1 else state for state, number in sorted(count.items()))
        for name, count in counts.items()
    }
    return {**states, "run": str(run.state or "PENDING").lower()}


def _tasks(run: Any) -> Sequence[Any]:
    return (run.run_details.task_details or []) if run.run_details else []


def _error(item: Any) -> str:
    return " ".join(str(item.error.message or "").split()) if item.error else ""
