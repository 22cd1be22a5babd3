"""The runs of pipelines and stages in MLflow: a method for each kind of event, named as the kind."""

import base64
import functools
import logging
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import __version__
from components.tracking.client import experiment_id, is_refusal, tracking_client
from components.tracking.events import CACHED_TAG, FINGERPRINT, PARENT_TAG, PIPELINE, RUN_ID_TAG, STAGE_TAG, Event, Task
from components.tracking.silence import last_beat, last_sign

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

ATTEMPT_TAG = "vigil.attempt"
FAILED_STAGE_TAG = "vigil.failed_stage"
FAILURE_TAG = "vigil.failure"
SETTLED_TAG = "vigil.settled"
"""Tag of the pipeline run that its stages have agreed on."""
_LOST_MILLISECONDS = 15 * 60 * 1000
_METRICS_PER_CALL, _PARAMS_PER_CALL = 1000, 100
_MAX_TEXT_LENGTH = 6000
_SETTLE_SECONDS = 10.0
_SLOWEST = 5
"""How many times as long as in this process it may take to create a run in another."""


class ArtifactStoreError(Exception):
    """A file did not reach the artifact store, which may be another server than MLflow's."""


class MlflowRuns:
    """Writes events, and remembers which MLflow run belongs to which task."""

    def __init__(self) -> None:
        """Know no run; nothing is opened or sent yet."""
        self.run_ids: dict[Task, str] = {}
        self._parents: dict[tuple[str, str], str] = {}
        self._experiments: dict[str, str] = {}
        self._monitors: dict[Task, SystemMetricsMonitor] = {}

    @functools.cached_property
    def _client(self) -> "MlflowClient":
        """Opened by what is sent first, so that a database that does not open counts as an outage."""
        return tracking_client()

    def start(self, task: Task, event: Event) -> None:
        """Create the stage's run, or adopt KFP's, in place of those of earlier attempts, and watch its machine."""
        parent = self._adopt(task) if task.mlflow_run_id else self._parent_id(task)
        tags = {STAGE_TAG: task.stage, "vigil.line": task.line}
        if parent:
            earlier = self._nested(task, parent, task.stage)
            for run in earlier:
                if run.info.run_id != task.mlflow_run_id:
                    self._client.delete_run(run.info.run_id)
            attempts = [int(run.data.tags.get(ATTEMPT_TAG, "1")) for run in earlier]
            tags[ATTEMPT_TAG] = str(max(attempts, default=0) + 1)
            self._reopen(task, parent)
        if task.mlflow_run_id:
            self._set_tags(task.mlflow_run_id, tags)
        else:
            tags |= {"mlflow.runName": _run_name(task.stage)} | ({PARENT_TAG: parent} if parent else {})
            created = self._client.create_run(self._experiment(task.line), start_time=event.time, tags=tags)
            self.run_ids[task] = str(created.info.run_id)
        if time.time() * 1000 - event.time < _LOST_MILLISECONDS:  # or it is backfilled, and has ended long ago
            self._monitors[task] = _started_monitor(self.run_ids[task])

    def params(self, task: Task, event: Event) -> None:
        """Log the parameters that the run does not have."""
        from mlflow.entities import Param

        target = self._target(task, event)
        known = self._client.get_run(target).data.params
        values = event.values.items()
        new = [Param(name, value[:_MAX_TEXT_LENGTH]) for name, value in values if name not in known]
        for start in range(0, len(new), _PARAMS_PER_CALL):
            self._client.log_batch(target, params=new[start : start + _PARAMS_PER_CALL])

    def metrics(self, task: Task, events: Sequence[Event]) -> None:
        """Log the scalars of several events of one run."""
        self._log_scalars(self._target(task, events[0]), events)

    def tags(self, task: Task, event: Event) -> None:
        """Set tags."""
        self._set_tags(self._target(task, event), event.values)

    def file(self, task: Task, event: Event) -> None:
        """Upload a file; raises `ArtifactStoreError` where the artifact store does not answer."""
        folder, _, file_name = event.values["name"].rpartition("/")
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / file_name
            path.write_bytes(base64.b64decode(event.values["base64"]))
            target = self._target(task, event)
            try:
                self._client.log_artifact(target, str(path), folder or None)
            except Exception as error:
                if is_refusal(error) or isinstance(error, ImportError):
                    raise  # waiting installs no client of the store
                raise ArtifactStoreError(f"{type(error).__name__}: {error}") from error

    def dataset(self, task: Task, event: Event) -> None:
        """Log a data set as input."""
        from mlflow.data.dataset_source_registry import resolve_dataset_source
        from mlflow.data.meta_dataset import MetaDataset
        from mlflow.entities import DatasetInput, InputTag

        source = resolve_dataset_source(event.values["source"])
        dataset = MetaDataset(source, name=event.values["name"], digest=event.values["digest"][:36])
        entry = DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])
        self._client.log_inputs(self._target(task, event), [entry])

    def cached(self, task: Task, event: Event) -> None:
        """Add a finished run for a stage that was taken from the cache, unless the pipeline run has one."""
        parent, stage = self._parent_id(task), event.values["stage"]
        if not parent or self._nested(task, parent, stage):
            return
        tags = {PARENT_TAG: parent, STAGE_TAG: stage, CACHED_TAG: event.values["computed_in"]}
        tags |= {"vigil.line": task.line, "mlflow.runName": f"{_run_name(stage)} (cached)"}
        created = self._client.create_run(self._experiment(task.line), start_time=event.time, tags=tags)
        numbers = {name: value for name, value in event.values["summary"].items() if isinstance(value, (int, float))}
        figures = Event(kind="metrics", values={"step": 0, "scalars": numbers}, time=event.time)
        self._log_scalars(created.info.run_id, [figures])
        self._client.set_terminated(created.info.run_id, "FINISHED", event.time)

    def failure(self, task: Task, event: Event) -> None:
        """End the pipeline run with the stage that failed and its message."""
        target, values = self._target(task, event), event.values
        self._set_tags(target, {FAILED_STAGE_TAG: values["stage"], FAILURE_TAG: values["message"]})
        self._client.set_terminated(target, values["status"], event.time)

    def end(self, task: Task, event: Event) -> None:
        """End the stage's run; KFP ends its own."""
        if not task.mlflow_run_id:
            self._client.set_terminated(self._target(task, event), event.values["status"], event.time)
        if task in self._monitors:
            self._monitors.pop(task).finish()

    def close(self, task: Task, event: Event) -> None:
        """End the pipeline run, and its nested runs that were left running."""
        parent = self._parent_id(task)
        if not parent:
            return
        for run in self._nested(task, parent):
            if run.info.status == "RUNNING" and run.info.run_id != self.run_ids.get(task):
                self._client.set_terminated(run.info.run_id, "KILLED", event.time)
        if event.values["status"] == "FINISHED":
            self._withdraw_failure(self._client.get_run(parent))
        self._client.set_terminated(parent, event.values["status"], event.time)

    def sweep(self, task: Task, event: Event) -> None:
        """Fail what other pipeline runs of the line left running when their process crashed.

        A stage has crashed when its last heartbeat is long ago; a pipeline run when nothing of it runs and its last
        stage ended long ago. The latter names no failed stage, so that a run that only waited goes on with its next.
        """
        own = self._parent_id(task)
        for run in self._client.search_runs([self._experiment(task.line)], "attributes.status = 'RUNNING'"):
            tags, stage = run.data.tags, run.data.tags.get(STAGE_TAG)
            parent = tags.get(PARENT_TAG, run.info.run_id)
            if stage is None or parent == own or (stage != PIPELINE and PARENT_TAG not in tags):
                continue
            if stage == PIPELINE:
                nested = self._nested(task, parent)
                if any(found.info.status == "RUNNING" for found in nested):
                    continue
                sign = last_sign(self._client, run, nested)
            else:
                sign = last_beat(self._client, run)
            if event.time - sign <= _LOST_MILLISECONDS:
                continue
            failure = {FAILURE_TAG: "crashed without a message, as when memory runs out"}
            if stage != PIPELINE:
                self._client.set_terminated(run.info.run_id, "FAILED", event.time)
                failure[FAILED_STAGE_TAG] = stage
            self._set_tags(parent, failure)
            self._client.set_terminated(parent, "FAILED", event.time)

    def stop_monitors(self) -> None:
        """Watch no machine any more."""
        while self._monitors:
            self._monitors.popitem()[1].finish()

    def _target(self, task: Task, event: Event) -> str:
        """Id of the run that an event belongs to; one that another process began before an outage is continued."""
        if event.parent and (parent := self._parent_id(task)):
            return parent
        if task not in self.run_ids:
            if task.mlflow_run_id:
                self._adopt(task)
            elif (parent := self._parent_id(task)) and (found := self._nested(task, parent, task.stage)):
                self.run_ids[task] = str(found[0].info.run_id)
            else:
                self.start(task, event)
        return self.run_ids[task]

    def _adopt(self, task: Task) -> str:
        """Use the run that KFP has made for the task; id of its parent, which becomes the pipeline run."""
        run = self._client.get_run(task.mlflow_run_id)
        self.run_ids[task] = task.mlflow_run_id
        self._experiments[task.line] = str(run.info.experiment_id)
        parent = str(run.data.tags.get(PARENT_TAG, "")) if task.run_id else ""
        if parent:
            self._parents[task.line, task.run_id] = parent
            self._set_tags(parent, _parent_tags(task))
        return parent

    def _reopen(self, task: Task, parent: str) -> None:
        """Let a failed pipeline run go on where the stage that failed starts again, or all start again.

        Another stage, of those that run beside the failed one, changes nothing: nobody would end the run again.
        """
        run = self._client.get_run(parent)
        if task.stage not in (FINGERPRINT, run.data.tags.get(FAILED_STAGE_TAG, task.stage)):
            return
        self._withdraw_failure(run)
        if run.info.status == "RUNNING":
            return
        nested = [] if task.stage == FINGERPRINT else self._nested(task, parent)
        failed = [found.data.tags.get(STAGE_TAG) for found in nested if found.info.status in ("FAILED", "KILLED")]
        if any(failed):
            self._set_tags(parent, {FAILED_STAGE_TAG: next(filter(None, failed))})
        else:
            self._client.update_run(parent, status="RUNNING")

    def _withdraw_failure(self, run: "Run") -> None:
        for name in (FAILED_STAGE_TAG, FAILURE_TAG):
            if name in run.data.tags:
                self._client.delete_tag(run.info.run_id, name)

    def _parent_id(self, task: Task) -> str:
        """Id of the pipeline run of a task, created where it is missing; empty for a stage that runs by itself.

        Of several that stages create at once, all keep the oldest. Each has looked before the others' runs were there,
        so that all are there once the slowest has been created.
        """
        if not task.run_id:
            return ""
        key = (task.line, task.run_id)
        if key not in self._parents:
            started = time.monotonic()
            found = self._pipeline_runs(task)
            if not found:
                tags = {**_parent_tags(task), "mlflow.runName": f"{task.line}-{task.run_id[:8]}"}
                own = self._client.create_run(self._experiment(task.line), tags=tags).info.run_id
                time.sleep(min(_SETTLE_SECONDS, _SLOWEST * (time.monotonic() - started)))
                found = self._pipeline_runs(task)
                if found[0].info.run_id == own:
                    self._client.set_tag(own, SETTLED_TAG, "true")
                else:
                    self._client.delete_run(own)
            self._parents[key] = str(found[0].info.run_id)
        return self._parents[key]

    def _pipeline_runs(self, task: Task) -> "list[Run]":
        """Pipeline runs of a task, one but while two stages create it: the one settled on first, then the oldest."""
        query = f"tags.`{RUN_ID_TAG}` = '{task.run_id}' and tags.`{STAGE_TAG}` = '{PIPELINE}'"
        runs = self._client.search_runs([self._experiment(task.line)], query)
        return sorted(runs, key=lambda run: (SETTLED_TAG not in run.data.tags, run.info.start_time, run.info.run_id))

    def _nested(self, task: Task, parent: str, stage: str = "") -> "list[Run]":
        """Runs of a pipeline run's stages, or of one stage."""
        query = f"tags.`{PARENT_TAG}` = '{parent}'" + (f" and tags.`{STAGE_TAG}` = '{stage}'" if stage else "")
        return list(self._client.search_runs([self._experiment(task.line)], query))

    def _experiment(self, line: str) -> str:
        if line not in self._experiments:
            self._experiments[line] = experiment_id(self._client, line)
        return self._experiments[line]

    def _log_scalars(self, run_id: str, events: Sequence[Event]) -> None:
        from mlflow.entities import Metric

        points = [
            Metric(name, value, event.time, event.values["step"])
            for event in events
            for name, value in event.values["scalars"].items()
        ]
        for start in range(0, len(points), _METRICS_PER_CALL):
            self._client.log_batch(run_id, metrics=points[start : start + _METRICS_PER_CALL])

    def _set_tags(self, run_id: str, tags: Mapping[str, Any]) -> None:
        from mlflow.entities import RunTag

        entries = [RunTag(name, str(value)[:_MAX_TEXT_LENGTH]) for name, value in tags.items()]
        self._client.log_batch(run_id, tags=entries)


def _started_monitor(run_id: str) -> "SystemMetricsMonitor":
    """MLflow's monitor of the machine, of its GPUs where `nvidia-ml-py` is installed; it survives an outage."""
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)

    class Monitor(SystemMetricsMonitor):  # type: ignore[misc]
        def monitor(self) -> None:
            while not self._shutdown_event.is_set():
                super().monitor()  # returns when MLflow does not answer
                self._shutdown_event.wait(self.sampling_interval)

    monitor = Monitor(run_id)
    monitor.start()
    return monitor


def _run_name(stage: str) -> str:
    """What distinguishes a stage's tasks, where there are several: MLflow's list of runs cuts long names."""
    return stage.partition(" ")[2] or stage


def _parent_tags(task: Task) -> dict[str, str]:
    return {RUN_ID_TAG: task.run_id, STAGE_TAG: PIPELINE, "vigil.line": task.line, "vigil.version": __version__}
