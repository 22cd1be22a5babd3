"""Writes recorded events to MLflow."""

import base64
import fcntl
import functools
import os
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from components import __version__
from components.errors import without_credentials
from components.events import HEARTBEAT, PIPELINE, RUN_ID_TAG, STAGE_TAG, TRACKING_URI, Event, Task, read_events

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

ATTEMPT_TAG = "vigil.attempt"
CACHED_TAG = "vigil.cached"
FAILED_STAGE_TAG = "vigil.failed_stage"
FAILURE_TAG = "vigil.failure"
FAILURE_FILE = "failure.txt"
PARENT_TAG = "mlflow.parentRunId"
_LOST_MILLISECONDS = 15 * 60 * 1000
_METRICS_PER_CALL = 1000
_PARAMS_PER_CALL = 100
_MAX_TEXT_LENGTH = 6000
_POLL_SECONDS = 1.0
_SERVER_ERROR = 500
_SETTLE_SECONDS = 10.0
_SLOWEST = 5
"""How many times as long as in this process it may take to create a run in another."""
_SQLITE = "sqlite:///"

Recorded: TypeAlias = tuple[Task, Event]


class Writer:
    """Writes events, and remembers which MLflow run belongs to which task."""

    def __init__(self) -> None:
        """Know no run; nothing is opened or sent yet."""
        _keep_mlflow_quiet()
        self.run_ids: dict[Task, str] = {}
        self._parents: dict[tuple[str, str], str] = {}
        self._experiments: dict[str, str] = {}
        self._told = False

    @functools.cached_property
    def _client(self) -> "MlflowClient":
        """Opened by what is sent first, so that a database that does not open counts as MLflow's silence."""
        return tracking_client()

    def write(self, events: Sequence[Recorded]) -> list[Recorded]:
        """Send events in their order.

        Returns:
            Those that could not be sent because MLflow did not answer. An event that MLflow refuses is told and
            dropped.
        """
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        rest = list(events)
        while rest:
            group = _group(rest)
            try:
                self._write_group(group)
            except (MlflowException, SQLAlchemyError, OSError) as error:
                if not _is_refusal(error):
                    self._tell(f"MLflow does not answer, the run goes on without it ({_one_line(error)})")
                    return rest
                self._tell(f"MLflow refused {group[0][1].kind} of {group[0][0].stage} ({_one_line(error)})")
            rest = rest[len(group) :]
        return []

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
        if task not in self.run_ids:
            self._start(task, event)
        return self.run_ids[task]

    def _start(self, task: Task, event: Event) -> None:
        if task.mlflow_run_id:
            self._adopt(task)
            return
        tags = {STAGE_TAG: task.stage, "vigil.line": task.line, "mlflow.runName": _run_name(task.stage)}
        experiment = self._experiment(task.line)
        if parent := self.parent_id(task):
            tags |= {PARENT_TAG: parent, ATTEMPT_TAG: str(self._retire(experiment, parent, task.stage) + 1)}
            self._reopen(parent, task.stage)
        created = self._client.create_run(experiment, start_time=event.time, tags=tags)
        self.run_ids[task] = str(created.info.run_id)

    def _adopt(self, task: Task) -> None:
        """Use the run that KFP has made for the task, and its parent as the pipeline run."""
        run = self._client.get_run(task.mlflow_run_id)
        self.run_ids[task] = task.mlflow_run_id
        self._set_tags(task.mlflow_run_id, {STAGE_TAG: task.stage, "vigil.line": task.line})
        parent = run.data.tags.get(PARENT_TAG)
        if parent and task.run_id:
            self._parents[task.line, task.run_id] = parent
            self._set_tags(parent, _parent_tags(task))

    def _retire(self, experiment: str, parent: str, stage: str) -> int:
        """Delete the runs of a task's earlier attempts, and return how many attempts there were."""
        attempts = 0
        for run in self._client.search_runs([experiment], _attempts_query(parent, stage)):
            attempts = max(attempts, int(run.data.tags.get(ATTEMPT_TAG, "1")))
            self._client.delete_run(run.info.run_id)
        return attempts

    def _reopen(self, parent: str, stage: str) -> None:
        """A retried stage takes back what its failure said about the pipeline run."""
        run = self._client.get_run(parent)
        if run.info.status == "RUNNING":
            return
        self._client.update_run(parent, status="RUNNING")
        if run.data.tags.get(FAILED_STAGE_TAG) == stage:
            self._take_back_failure(run)

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
            self._client.log_artifact(self._target(task, event), str(path), folder or None)

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
        if not parent or self._client.search_runs([experiment], _attempts_query(parent, stage), max_results=1):
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
        self._client.log_text(target, values["log"], FAILURE_FILE)
        self._client.set_terminated(target, values["status"], event.time)

    def _end(self, task: Task, event: Event) -> None:
        if not task.mlflow_run_id:
            self._client.set_terminated(self._target(task, event), event.values["status"], event.time)

    def _close(self, task: Task, event: Event) -> None:
        """End the pipeline run, and its nested runs that were left running."""
        parent = self.parent_id(task)
        if not parent:
            return
        query = f"tags.`{PARENT_TAG}` = '{parent}' and attributes.status = 'RUNNING'"
        own = self.run_ids.get(task)
        for run in self._client.search_runs([self._experiment(task.line)], query):
            if run.info.run_id != own:
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
            parent = run.data.tags.get(PARENT_TAG, own)
            if parent != own and event.time - self._last_sign(run) > _LOST_MILLISECONDS:
                stage = run.data.tags[STAGE_TAG]
                self._client.set_terminated(run.info.run_id, "FAILED", event.time)
                tags = {FAILED_STAGE_TAG: stage, FAILURE_TAG: "ended without a word, as when memory runs out"}
                self._set_tags(parent, tags)
                self._client.set_terminated(parent, "FAILED", event.time)

    def _last_sign(self, run: "Run") -> int:
        """When a run last logged a sample of its machine, or started; milliseconds since the epoch."""
        samples = self._client.get_metric_history(run.info.run_id, HEARTBEAT)
        return max([int(run.info.start_time), *(int(sample.timestamp) for sample in samples)])

    def _set_tags(self, run_id: str, tags: Any) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(name, str(value)[:_MAX_TEXT_LENGTH]) for name, value in tags.items()]
        self._client.log_batch(run_id, tags=entries)

    def _tell(self, text: str) -> None:
        if not self._told:
            print(f"[vigil] {text}", file=sys.stdout, flush=True)
        self._told = True


@contextmanager
def published(folder: Path) -> Iterator[Callable[[], bool]]:
    """Publish the events that tasks append to the files of a folder while the block runs.

    Yields:
        A function that sends what is there, and tells whether all of it was sent. Files are removed when they are
        sent; what is left is sent when the folder is published again.
    """
    publisher = _FolderPublisher(folder)
    stop = threading.Event()
    thread = threading.Thread(target=publisher.follow, args=(stop,), daemon=True, name="tracking")
    thread.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield publisher.publish
    finally:
        stop.set()
        thread.join()


class _FolderPublisher:
    """Sends the files of a folder as they grow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sent: dict[Path, int] = {}
        self._sizes: dict[Path, int] = {}
        self._writer: Writer | None = None
        self._lock = threading.Lock()

    def follow(self, stop: threading.Event) -> None:
        """Publish every second until told to stop."""
        while not stop.wait(_POLL_SECONDS):
            self.publish(remove=False)

    def publish(self, *, remove: bool = True) -> bool:
        """Send what is new; whether all was sent. Removes the files that were sent, when they will not grow."""
        with self._lock:
            files = sorted(self._folder.glob("*.jsonl"))
            complete = all(self._send(path) for path in files)
            for path in files if complete and remove else ():
                path.unlink()
            return complete

    def _send(self, path: Path) -> bool:
        size = path.stat().st_size
        if size == self._sizes.get(path):
            return True
        events = read_events(path)[self._sent.get(path, 0) :]
        if not events:
            return True
        self._writer = self._writer or Writer()
        left = self._writer.write(events)
        self._sent[path] = self._sent.get(path, 0) + len(events) - len(left)
        if not left:
            self._sizes[path] = size
        return not left


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


def _attempts_query(parent: str, stage: str) -> str:
    return f"tags.`{PARENT_TAG}` = '{parent}' and tags.`{STAGE_TAG}` = '{stage}'"


def _points(event: Event) -> "list[Metric]":
    from mlflow.entities import Metric

    step = event.values["step"]
    return [Metric(name, value, event.time, step) for name, value in event.values["scalars"].items()]


def _is_refusal(error: Exception) -> bool:
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and error.get_http_status_code() < _SERVER_ERROR


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return without_credentials(text)[:300]


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
        if found[0].info.run_id != own:
            client.delete_run(own)
    return str(found[0].info.run_id)


def _parents(client: "MlflowClient", task: Task, experiment: str) -> "list[Run]":
    """Pipeline runs of a task, of which there is one but for the moment in which two stages create it; oldest first."""
    query = f"tags.`{RUN_ID_TAG}` = '{task.run_id}' and tags.`{STAGE_TAG}` = '{PIPELINE}'"
    runs = client.search_runs([experiment], query)
    return sorted(runs, key=lambda run: (run.info.start_time, run.info.run_id))


def _artifact_location() -> str | None:
    """Beside the database for sqlite, whose default is the working directory; the server's choice otherwise."""
    uri = os.environ[TRACKING_URI]
    if not uri.startswith(_SQLITE):
        return None
    return (Path(uri.removeprefix(_SQLITE)).parent / "mlartifacts").as_uri()
