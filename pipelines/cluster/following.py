"""Follows a run on a cluster until it ends, and finds what failed in it.

The server shows the nodes of Argo's workflow as tasks, in one list: a task's own beside its driver, its executor and
the attempts of both. It gives them no error, no pod and no task that they belong to (`toApiPipelineTaskDetail`). What
went wrong is in MLflow, where a stage records it, and in the pods' logs, which Argo keeps as artifacts of the nodes.
"""

import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from components.stage.run import FAILURE, INPUT_ERROR
from pipelines.cluster.kubeflow import NOT_FOUND, Kubeflow
from pipelines.cluster.transport import ClusterAnswerError, ClusterError

SUCCEEDED = "SUCCEEDED"
POLL_SECONDS = 5.0
PATIENCE_SECONDS = 600.0
"""How long requests are repeated that the cluster does not answer."""
_FAILED = "FAILED"
ENDED = (SUCCEEDED, _FAILED, "SKIPPED", "CANCELED")
"""States of a run on the server that has ended."""
_ATTEMPT = re.compile(r"\(\d+(:[^)]*)?\)$")
"""End of the name of an attempt, `train(0)`, or of an iteration, `iteration-item(1:1)`."""
_WRAPPER = re.compile(r"root|executor|.*-driver|iteration-.*")
"""Nodes that are no task of the pipeline, without the number of their attempt."""
_GROUP = re.compile(r"(for-loop|condition|condition-branches|exit-handler)-\d+")
_MESSAGE = re.compile(rf"(?:.*\])?\s*(?P<stage>[^:\]]+): (?:{INPUT_ERROR}|{FAILURE}): (?P<message>.*)")
"""The line by which a stage ends, see `components.stage.run`."""
_SHOWN_LINES = 20
_MOST_LOGS = 200


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What a stage said when it failed."""

    stage: str
    message: str
    """One line."""
    lines: tuple[str, ...] = ()
    """The last lines that it printed."""


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
            if run.state in ENDED:
                return run
        time.sleep(POLL_SECONDS)


def failed_tasks(run: Any) -> list[str]:
    """Names of the tasks of a run that failed, each once.

    A loop is named where none of its tasks is; what belongs to no task, as a driver, where nothing else is.
    """
    failed = [str(task.display_name or task.task_id) for task in _tasks(run) if task.state == _FAILED]
    own = [name for name in _visible(failed) if not _GROUP.fullmatch(name)]
    return list(dict.fromkeys(own or _visible(failed) or [name for name in failed if _plain(name) != "root"]))


def failure_of(run: Any) -> str:
    """How a run that did not succeed ended, in one line: its state and the tasks that failed."""
    return f"run {str(run.state).lower()}: tasks that failed: {', '.join(failed_tasks(run)) or 'none is named'}"


def logged_cause(cluster: Kubeflow, run: Any) -> Cause | None:
    """What a stage of a failed run said, out of the logs that Argo keeps; None where there is none with its message.

    The server does not say which node belongs to which task, so that all are read until one holds a stage's message.
    Raises `ClusterError` where the logs may not be read.
    """
    nodes = dict.fromkeys(child.pod_name for task in _tasks(run) for child in task.child_tasks or [] if child.pod_name)
    for node in list(nodes)[:_MOST_LOGS]:
        if found := _cause_in(cluster.node_log(run.run_id, node)):
            return found
    return None


def _cause_in(log: str) -> Cause | None:
    """The last message of a failing stage in a log, with the lines up to it."""
    lines = log.splitlines()
    for index in reversed(range(len(lines))):
        if match := _MESSAGE.fullmatch(lines[index]):
            shown = lines[max(0, index + 1 - _SHOWN_LINES) : index + 1]
            return Cause(stage=match["stage"].strip(), message=match["message"], lines=tuple(shown))
    return None


def _states(run: Any) -> dict[str, str]:
    """State of the run and of each task; tasks of one name, as those of a loop, are counted."""
    counts: dict[str, Counter[str]] = {}
    tasks = [(str(task.display_name or task.task_id), task.state) for task in _tasks(run) if task.state]
    shown = set(_visible([name for name, _ in tasks]))
    for name, state in tasks:
        if name in shown:
            counts.setdefault(name, Counter())[str(state).lower()] += 1
    states = {
        name: ", ".join(f"{number} {state}" if count.total() > 1 else state for state, number in sorted(count.items()))
        for name, count in counts.items()
    }
    return {**states, "run": str(run.state or "PENDING").lower()}


def _visible(names: Sequence[str]) -> list[str]:
    """Names of tasks of the pipeline: without drivers, executors, iterations, and attempts beside their task."""
    return [
        name
        for name in names
        if not _WRAPPER.fullmatch(_plain(name)) and not (_plain(name) != name and _plain(name) in names)
    ]


def _plain(name: str) -> str:
    return _ATTEMPT.sub("", name)


def _tasks(run: Any) -> Sequence[Any]:
    return (run.run_details.task_details or []) if run.run_details else []
