"""Writes recorded events to MLflow."""

import base64
import fcntl
import functools
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from components import __version__
from components.tracking.events import (
    FINGERPRINT,
    HEARTBEAT,
    PIPELINE,
    RUN_ID_TAG,
    SPOOL,
    STAGE_TAG,
    TRACKING_URI,
    Event,
    Task,
)
from components.tracking.mlflow_errors import is_refusal, is_silence, one_line

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

ATTEMPT_TAG = "vigil.attempt"
CACHED_TAG = "vigil.cached"
FAILED_STAGE_TAG = "vigil.failed_stage"
FAILURE_TAG = "vigil.failure"
FAILURE_FILE = "failure.txt"
OUTAGE_TOLD = "outage-told"
"""File of a local run's spool: one of its processes has said that MLflow does not answer."""
PARENT_TAG = "mlflow.parentRunId"
SETTLED_TAG = "vigil.settled"
"""Tag of the pipeline run that its stages have agreed on."""
_LOST_MILLISECONDS = 15 * 60 * 1000
_METRICS_PER_CALL = 1000
_PARAMS_PER_CALL = 100
_MAX_TEXT_LENGTH = 6000
_FAILED = ("FAILED", "KILLED")
_SETTLE_SECONDS = 10.0
_SLOWEST = 5
"""How many times as long as in this process it may take to create a run in another."""
_SQLITE = "sqlite:///"

Recorded: TypeAlias = tuple[Task, Event]


class _ArtifactStoreError(Exception):
    """A file did not reach the artifact store, which may be another server than MLflow's."""


class Writer:
    """Writes events, and remembers which MLflow run belongs to which task."""

    def __init__(self) -> None:
        """Know no run; nothing is opened or sent yet."""
        _keep_mlflow_quiet()
        self.run_ids: dict[Task, str] = {}
        self._parents: dict[tuple[str, str], str] = {}
        self._experiments: dict[str, str] = {}
        self._told: set[str] = set()
        self._lost = 0

    @functools.cached_property
    def _client(self) -> "MlflowClient":
        """Opened by what is sent first, so that a database that does not open counts as MLflow's silence."""
        return tracking_client()

    def write(self, events: Sequence[Recorded]) -> list[Recorded]:
        """Send events in their order, files after all others, which an artifact store that is down holds up.

        Returns:
            Those that could not be sent because MLflow, or the artifact store, did not answer. An event that MLflow
            refuses, or that cannot be written at all, is told and dropped.
        """
        pieces = [piece for recorded in events for piece in _pieces(recorded)]
        left = self._send([piece for piece in pieces if piece[1].kind != "file"])
        files = [piece for piece in pieces if piece[1].kind == "file"]
        return [*left, *files] if left else self._send(files)

    def tell_losses(self) -> None:
        """Say how many events were dropped, if any were."""
        if self._lost:
            self._tell("losses", f"MLflow lacks {self._lost} events, which it refused or which could not be written")

    def _send(self, events: Sequence[Recorded]) -> list[Recorded]:
        rest = list(events)
        while rest:
            group = _group(rest)
            try:
                self._write_group(group)
            except _ArtifactStoreError as error:
                self._tell("store", f"MLflow's artifact store does not answer, files wait ({one_line(error)})")
                return [*rest[len(group) :], *group]
            except Exception as error:  # noqa: BLE001 (whatever happens to MLflow stops no stage)
                if is_silence(error):
                    self._tell_silence(error)
                    return rest
                self._lose(group, error)
            rest = rest[len(group) :]
        return []

    def _lose(self, group: Sequence[Recorded], error: Exception) -> None:
        task, event = group[0]
        self._lost += len(group)
        if is_refusal(error):
            self._tell("refusal", f"MLflow refused {event.kind} of {task.stage} ({one_line(error)})")
            return
        kind = type(error).__name__
        text = f"{event.kind} of {task.stage} is not recorded in MLflow ({kind}: {one_line(error)})"
        self._tell(f"{kind} of {task.stage}", text)

    def _tell_silence(self, error: Exception) -> None:
        """Say once that MLflow does not answer; in a local run, by one of its processes."""
        spool = os.environ.get(SPOOL, "")
        if spool and "silence" not in self._told and not _is_first_to_tell(spool):
            self._told.add("silence")
        self._tell("silence", f"MLflow does not answer, the run goes on without it ({one_line(error)})")

    def _tell(self, about: str, text: str) -> None:
        """Print a line unless one about the same has been printed."""
        if about not in self._told:
            print(f"[vigil] {text}", flush=True)
        self._told.add(about)

    def parent_id(self, task: Task) -> str:
        """Id of the pipeline run of a task, created where it is missing; empty for a stage that runs by itself."""
        if not task.run_id:
            return ""
        key = (task.line, task.run_id)
        if key not in self._parents:
            self._parents[key] = _find_or_create_parent(self._client, task, self._experiment(task.line))
        return self._parents[key]

    def _experiment(self, line: str) -> str:
        if line not in self._experiments:
            self._experiments[line] = experiment_id(self._client, line)
        return self._experiments[line]

    def _write_group(self, group: Sequence[Recorded]) -> None:
        task, first = group[0]
        handlers: dict[str, Callable[[Task, Event], None]] = {
            "start": self._start,
            "params": self._params,
            "tags": self._tags,
            "file": self._file,
            "dataset": self._dataset,
            "cached": self._cached,
            "failure": self._failure,
            "end": self._end,
            "close": self._close,
            "sweep": self._sweep,
        }
        if first.kind == "metrics":
            self._metrics(task, [event for _, event in group])
        else:
            handlers[first.kind](task, first)

    def _target(self, task: Task, event: Event) -> str:
        """Id of the run that an event belongs to."""
        if event.parent and (parent := self.parent_id(task)):
            return parent
        if task not in self.run_ids and not self._continue(task):
            self._start(task, event)
        return self.run_ids[task]

    def _continue(self, task: Task) -> bool:
        """Find the run that another process has begun to write before MLflow fell silent; whether there is one."""
        if task.mlflow_run_id:
            self._adopt(task)
            return True
        parent = self.parent_id(task)
        found = self._attempts(self._experiment(task.line), parent, task.stage) if parent else []
        if found:
            self.run_ids[task] = str(found[0].info.run_id)
        return bool(found)

    def _start(self, task: Task, event: Event) -> None:
        parent = self._adopt(task) if task.mlflow_run_id else self.parent_id(task)
        tags = {STAGE_TAG: task.stage, "vigil.line": task.line}
        experiment = self._experiment(task.line)
        if parent:
            tags[ATTEMPT_TAG] = str(self._retire(experiment, parent, task) + 1)
            self._reopen(experiment, parent, task.stage)
        if task.mlflow_run_id:
            self._set_tags(task.mlflow_run_id, tags)
            return
        tags |= {"mlflow.runName": _run_name(task.stage)} | ({PARENT_TAG: parent} if parent else {})
        created = self._client.create_run(experiment, start_time=event.time, tags=tags)
        self.run_ids[task] = str(created.info.run_id)

    def _adopt(self, task: Task) -> str:
        """Use the run that KFP has made for the task; id of its parent, which becomes the pipeline run."""
        run = self._client.get_run(task.mlflow_run_id)
        self.run_ids[task] = task.mlflow_run_id
        self._experiments[task.line] = str(run.info.experiment_id)
        parent = str(run.data.tags.get(PARENT_TAG, ""))
        if not parent or not task.run_id:
            return ""
        self._parents[task.line, task.run_id] = parent
        self._set_tags(parent, _parent_tags(task))
        return parent

    def _attempts(self, experiment: str, parent: str, stage: str) -> "list[Run]":
        query = f"tags.`{PARENT_TAG}` = '{parent}' and tags.`{STAGE_TAG}` = '{stage}'"
        return list(self._client.search_runs([experiment], query))

    def _retire(self, experiment: str, parent: str, task: Task) -> int:
        """Delete the runs of a task's earlier attempts, and return how many attempts there were."""
        attempts = 0
        for run in self._attempts(experiment, parent, task.stage):
            attempts = max(attempts, int(run.data.tags.get(ATTEMPT_TAG, "1")))
            if run.info.run_id != task.mlflow_run_id:
                self._client.delete_run(run.info.run_id)
        return attempts

    def _reopen(self, experiment: str, parent: str, stage: str) -> None:
        """Let a failed pipeline run go on where the stage that failed starts again, or all start again.

        Another stage, of those that run beside the failed one, changes nothing: nobody would end the run again.
        """
        run = self._client.get_run(parent)
        if stage not in (FINGERPRINT, run.data.tags.get(FAILED_STAGE_TAG, stage)):
            return
        self._take_back_failure(run)
        if run.info.status == "RUNNING":
            return
        failed = [] if stage == FINGERPRINT else self._failed_stages(experiment, parent)
        if failed:
            self._set_tags(parent, {FAILED_STAGE_TAG: failed[0]})
        else:
            self._client.update_run(parent, status="RUNNING")

    def _failed_stages(self, experiment: str, parent: str) -> list[str]:
        nested = self._nested(experiment, parent)
        return [run.data.tags[STAGE_TAG] for run in nested if run.info.status in _FAILED and STAGE_TAG in run.data.tags]

    def _nested(self, experiment: str, parent: str) -> "list[Run]":
        return list(self._client.search_runs([experiment], f"tags.`{PARENT_TAG}` = '{parent}'"))

    def _params(self, task: Task, event: Event) -> None:
        from mlflow.entities import Param

        target = self._target(task, event)
        known = self._client.get_run(target).data.params
        values = event.values.items()
        new = [Param(name, value[:_MAX_TEXT_LENGTH]) for name, value in values if name not in known]
        for start in range(0, len(new), _PARAMS_PER_CALL):
            self._client.log_batch(target, params=new[start : start + _PARAMS_PER_CALL])

    def _metrics(self, task: Task, events: Sequence[Event]) -> None:
        target = self._target(task, events[0])
        points = [point for event in events for point in _points(event)]
        for start in range(0, len(points), _METRICS_PER_CALL):
            self._client.log_batch(target, metrics=points[start : start + _METRICS_PER_CALL])

    def _tags(self, task: Task, event: Event) -> None:
        self._set_tags(self._target(task, event), event.values)

    def _file(self, task: Task, event: Event) -> None:
        folder, _, file_name = event.values["name"].rpartition("/")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / file_name
            path.write_bytes(base64.b64decode(event.values["base64"]))
            self._upload(self._target(task, event), path, folder)

    def _upload(self, run_id: str, path: Path, folder: str) -> None:
        try:
            self._client.log_artifact(run_id, str(path), folder or None)
        except Exception as error:
            if is_refusal(error) or isinstance(error, ImportError):
                raise  # waiting installs no client of the store
            raise _ArtifactStoreError(f"{type(error).__name__}: {error}") from error

    def _dataset(self, task: Task, event: Event) -> None:
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        source = resolve_dataset_source(event.values["source"])
        dataset = MetaDataset(source, name=event.values["name"], digest=event.values["digest"][:36])
        entry = DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])
        self._client.log_inputs(self._target(task, event), [entry])

    def _cached(self, task: Task, event: Event) -> None:
        parent, stage = self.parent_id(task), event.values["stage"]
        experiment = self._experiment(task.line)
        if not parent or self._attempts(experiment, parent, stage):
            return
        tags = {
            PARENT_TAG: parent,
            STAGE_TAG: stage,
            "vigil.line": task.line,
            "mlflow.runName": f"{_run_name(stage)} (cached)",
            CACHED_TAG: event.values["computed_in"],
        }
        run_id = self._client.create_run(experiment, start_time=event.time, tags=tags).info.run_id
        numbers = {name: value for name, value in event.values["summary"].items() if isinstance(value, (int, float))}
        points = _points(Event(kind="metrics", values={"step": 0, "scalars": numbers}, time=event.time))
        self._client.log_batch(run_id, metrics=points)
        self._client.set_terminated(run_id, "FINISHED", event.time)

    def _failure(self, task: Task, event: Event) -> None:
        target, values = self._target(task, event), event.values
        self._set_tags(target, {FAILED_STAGE_TAG: values["stage"], FAILURE_TAG: values["message"]})
        self._client.set_terminated(target, values["status"], event.time)

    def _end(self, task: Task, event: Event) -> None:
        if not task.mlflow_run_id:
            self._client.set_terminated(self._target(task, event), event.values["status"], event.time)

    def _close(self, task: Task, event: Event) -> None:
        """End the pipeline run, and its nested runs that were left running."""
        parent = self.parent_id(task)
        if not parent:
            return
        own = self.run_ids.get(task)
        for run in self._nested(self._experiment(task.line), parent):
            if run.info.status == "RUNNING" and run.info.run_id != own:
                self._client.set_terminated(run.info.run_id, "KILLED", event.time)
        if event.values["status"] == "FINISHED":
            self._take_back_failure(self._client.get_run(parent))
        self._client.set_terminated(parent, event.values["status"], event.time)

    def _take_back_failure(self, run: "Run") -> None:
        for name in (FAILED_STAGE_TAG, FAILURE_TAG):
            if name in run.data.tags:
                self._client.delete_tag(run.info.run_id, name)

    def _sweep(self, task: Task, event: Event) -> None:
        """Fail what other pipeline runs of the line left running when their process died without a word."""
        own = self.parent_id(task)
        running = self._client.search_runs([self._experiment(task.line)], "attributes.status = 'RUNNING'")
        for run in running:
            tags = run.data.tags
            parent, stage = tags.get(PARENT_TAG, run.info.run_id), tags.get(STAGE_TAG)
            if parent == own or stage is None:
                continue
            if stage == PIPELINE:
                self._sweep_parent(run, event.time)
            elif PARENT_TAG in tags and event.time - self._last_sign(run) > _LOST_MILLISECONDS:
                self._client.set_terminated(run.info.run_id, "FAILED", event.time)
                self._fail_parent(parent, {FAILED_STAGE_TAG: stage}, event.time)

    def _sweep_parent(self, run: "Run", now: int) -> None:
        """Fail a pipeline run of which nothing runs, and whose last stage has ended long ago.

        No stage is named, so that the next one of a run that only had to wait for a machine opens it again.
        """
        nested = self._nested(run.info.experiment_id, run.info.run_id)
        if any(stage.info.status == "RUNNING" for stage in nested):
            return
        ends = [int(stage.info.end_time or stage.info.start_time) for stage in nested]
        if now - max([int(run.info.start_time), *ends]) > _LOST_MILLISECONDS:
            self._fail_parent(run.info.run_id, {}, now)

    def _fail_parent(self, parent: str, tags: dict[str, str], now: int) -> None:
        self._set_tags(parent, {**tags, FAILURE_TAG: "ended without a word, as when memory runs out"})
        self._client.set_terminated(parent, "FAILED", now)

    def _last_sign(self, run: "Run") -> int:
        """When a run last logged a sample of its machine, or started; milliseconds since the epoch."""
        samples = self._client.get_metric_history(run.info.run_id, HEARTBEAT)
        return max([int(run.info.start_time), *(int(sample.timestamp) for sample in samples)])

    def _set_tags(self, run_id: str, tags: Any) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(name, str(value)[:_MAX_TEXT_LENGTH]) for name, value in tags.items()]
        self._client.log_batch(run_id, tags=entries)


def tracking_client() -> "MlflowClient":
    """Client that gives up on a silent server after seconds instead of minutes, and reports nothing to anybody."""
    _keep_mlflow_quiet()
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    from mlflow import MlflowClient

    with _opened_by_one(os.environ.get(TRACKING_URI, "")):
        return MlflowClient()


def _keep_mlflow_quiet() -> None:
    """Set what MLflow reads when any part of it is imported."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")  # what goes wrong is raised as well


@contextmanager
def _opened_by_one(uri: str) -> Iterator[None]:
    """Let one process after the other open a sqlite database: MLflow makes its tables without a lock."""
    if not uri.startswith(_SQLITE):
        yield
        return
    folder = Path(uri.removeprefix(_SQLITE)).parent
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # network file systems lock no folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def experiment_id(client: "MlflowClient", line: str) -> str:
    """Id of the experiment of a line, created where it is missing; the same for processes that create it at once."""
    from mlflow.exceptions import MlflowException

    experiment = client.get_experiment_by_name(line)
    if experiment is None:
        try:
            return str(client.create_experiment(line, artifact_location=_artifact_location()))
        except MlflowException:
            experiment = client.get_experiment_by_name(line)
            if experiment is None:
                raise
    return str(experiment.experiment_id)


def _group(events: Sequence[Recorded]) -> list[Recorded]:
    """The first event, with the metrics that follow it for the same run when it is of that kind."""
    task, first = events[0]
    if first.kind != "metrics":
        return [events[0]]
    group = []
    for other, event in events:
        if other != task or event.kind != "metrics" or event.parent != first.parent:
            break
        group.append((other, event))
    return group


def _pieces(recorded: Recorded) -> list[Recorded]:
    """An event as it is sent: a failure's log is a file, which comes by itself."""
    task, event = recorded
    if event.kind != "failure" or "log" not in event.values:
        return [recorded]
    values = dict(event.values)
    log = {"name": FAILURE_FILE, "base64": base64.b64encode(values.pop("log").encode()).decode()}
    return [(task, replace(event, values=values)), (task, replace(event, kind="file", values=log))]


def _points(event: Event) -> "list[Metric]":
    from mlflow.entities import Metric

    step = event.values["step"]
    return [Metric(name, value, event.time, step) for name, value in event.values["scalars"].items()]


def _is_first_to_tell(spool: str) -> bool:
    """Whether no other process that shares the spool has said that MLflow does not answer; it has, from now on."""
    with suppress(OSError):  # a full disk: told twice rather than never
        Path(spool).mkdir(parents=True, exist_ok=True)
        try:
            (Path(spool) / OUTAGE_TOLD).touch(exist_ok=False)
        except FileExistsError:
            return False
    return True


def _run_name(stage: str) -> str:
    """What tells a stage's tasks apart, where there are several: MLflow's list of runs cuts long names."""
    return stage.partition(" ")[2] or stage


def _parent_tags(task: Task) -> dict[str, str]:
    return {
        RUN_ID_TAG: task.run_id,
        STAGE_TAG: PIPELINE,
        "vigil.line": task.line,
        "vigil.version": __version__,
    }


def _find_or_create_parent(client: "MlflowClient", task: Task, experiment: str) -> str:
    """Id of the pipeline run of a task; of several that stages create at once, all keep the oldest.

    Each has looked before the others' runs were there, so that all are there once the slowest has been created.
    """
    started = time.monotonic()
    found = _parents(client, task, experiment)
    if not found:
        tags = {**_parent_tags(task), "mlflow.runName": f"{task.line}-{task.run_id[:8]}"}
        own = client.create_run(experiment, tags=tags).info.run_id
        time.sleep(min(_SETTLE_SECONDS, _SLOWEST * (time.monotonic() - started)))
        found = _parents(client, task, experiment)
        if found[0].info.run_id == own:
            client.set_tag(own, SETTLED_TAG, "true")
        else:
            client.delete_run(own)
    return str(found[0].info.run_id)


def _parents(client: "MlflowClient", task: Task, experiment: str) -> "list[Run]":
    """Pipeline runs of a task, of which there is one but for the moment in which two stages create it.

    One that another stage has settled on comes first, then the oldest.
    """
    query = f"tags.`{RUN_ID_TAG}` = '{task.run_id}' and tags.`{STAGE_TAG}` = '{PIPELINE}'"
    runs = client.search_runs([experiment], query)
    return sorted(runs, key=lambda run: (SETTLED_TAG not in run.data.tags, run.info.start_time, run.info.run_id))


def _artifact_location() -> str | None:
    """Beside the database for sqlite, whose default is the working directory; the server's choice otherwise."""
    uri = os.environ[TRACKING_URI]
    if not uri.startswith(_SQLITE):
        return None
    return (Path(uri.removeprefix(_SQLITE)).parent / "mlartifacts").as_uri()
