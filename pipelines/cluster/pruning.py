"""Finds and deletes what lines have left on a cluster: runs, pipeline versions, artifacts, checkpoints, MLflow runs.

What is needed stays at any age: runs in progress and all of their line, as they may take any of its results from the
cache; those that a version with an alias or a former champion comes from; the latest success of each line; and every
run whose results one of the kept runs took from the cache.

A run is deleted from the cluster before its objects: the server forgets with a run what the cache knows of it
(`RunStore.DeleteRun` deletes its tasks, in which the cache looks), so that no later run is given what is gone. MLflow's
record goes last, so that the same command goes on after a failure.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from components.errors import InputError
from components.registry.history import FINISHED, RUNNING
from components.registry.retention import RecordedRun, StillNeededError, check_unneeded, forget, recorded_runs
from components.storage import s3
from components.tracking.client import is_mlflow_error, one_line
from pipelines.cluster.following import ENDED
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.schedules import existing_schedules
from pipelines.cluster.transport import ClusterError, ClusterUnavailableError
from pipelines.dags.training import PIPELINE_NAME

RUN, LOST, VERSION, CHECKPOINT = "run", "lost run", "pipeline version", "checkpoint"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What may be deleted at all."""

    before: datetime
    """What is younger stays."""
    pipeline_root: str = ""
    """`s3://BUCKET/PREFIX` below which the cluster keeps artifacts; empty leaves objects alone."""
    checkpoints: str = ""
    """`s3://BUCKET/PREFIX`, the tasks' VIGIL_CHECKPOINTS; empty leaves them alone."""


@dataclass(frozen=True, kw_only=True)
class ClusterRun:
    """A run of the training pipeline on the cluster."""

    run_id: str
    line: str
    created: datetime
    ended: bool
    pipeline_id: str
    version_id: str


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Everything that was found."""

    runs: Mapping[str, ClusterRun]
    recorded: Mapping[str, RecordedRun]
    versions: Sequence[Any]
    """kfp_server_api's `V2beta1PipelineVersion`."""
    scheduled_versions: frozenset[str]
    """Ids of the pipeline versions that recurring runs start."""
    folders: Mapping[str, frozenset[str]] | None
    """Tasks with objects below the pipeline root, by run; None where it is not looked at."""
    checkpoints: Mapping[str, datetime]
    """When the youngest object was written, by folder."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that is kept or deleted."""

    kind: str
    name: str
    line: str
    since: datetime
    kept: str = ""
    """Why it stays; empty for what is deleted."""
    reason: str = ""
    """Why it is deleted."""
    delete: Callable[[], None] = field(default=lambda: None, repr=False)


def take_inventory(cluster: Kubeflow, limits: Limits) -> Inventory:
    """Read the cluster, MLflow and, where they are given, the objects; nothing is changed.

    MLflow is asked for the lines that this namespace has runs or schedules of. Raises `InputError` where runs left
    artifacts and none of them is below the pipeline root, which is then another one.
    """
    versions = cluster.versions(PIPELINE_NAME)
    own = {version.pipeline_version_id for version in versions}
    pipelines = {version.pipeline_id for version in versions}
    runs = {run.run_id: run for run in map(_cluster_run, cluster.runs()) if run.line and run.pipeline_id in pipelines}
    lines = {run.line for run in runs.values()} | {schedule.line for schedule in existing_schedules(cluster)}
    recorded = {run.run_id: run for run in recorded_runs(lines)}
    folders = _run_folders(limits.pipeline_root) if limits.pipeline_root else None
    if folders is not None and not folders.keys() & recorded.keys() and any(run.computed for run in recorded.values()):
        expected = "expected the folder that holds those of the pipelines"
        raise InputError(f"pipeline root: {limits.pipeline_root} has nothing of any run, {expected}")
    started = [run.pipeline_version_reference for run in cluster.recurring_runs() if run.pipeline_version_reference]
    return Inventory(
        runs=runs,
        recorded=recorded,
        versions=versions,
        scheduled_versions=frozenset(reference.pipeline_version_id for reference in started) & own,
        folders=folders,
        checkpoints=_checkpoints(limits.checkpoints) if limits.checkpoints else {},
    )


def findings(cluster: Kubeflow, inventory: Inventory, limits: Limits) -> list[Finding]:
    """What is kept and what is to be deleted, oldest first."""
    kept = _kept_runs(inventory, limits.before)
    found = [_run_finding(cluster, inventory, limits, run_id, kept) for run_id in _all_runs(inventory)]
    found += _version_findings(cluster, inventory, limits.before, kept)
    busy = any(not run.ended for run in inventory.runs.values())
    for name, written in inventory.checkpoints.items():
        why = "runs are in progress" if busy else "younger" if written >= limits.before else ""
        uri = f"{limits.checkpoints.rstrip('/')}/{name}"
        removal = _Removal(uri)
        found.append(
            Finding(kind=CHECKPOINT, name=name[:12], line="", since=written, kept=why, reason="old", delete=removal)
        )
    return sorted(found, key=lambda finding: finding.since)


def carry_out(found: Iterable[Finding]) -> dict[Finding, Exception]:
    """Delete what is to be deleted; the errors of what could not be. A cluster that is away ends it at once."""
    failed, away = dict[Finding, Exception](), None
    for finding in found:
        if finding.kept:
            continue
        if away:
            failed[finding] = away
            continue
        try:
            finding.delete()
        except ClusterUnavailableError as error:
            failed[finding] = away = error
        except (ClusterError, StillNeededError, InputError, OSError) as error:
            failed[finding] = error
        except Exception as error:
            if not is_mlflow_error(error):
                raise
            failed[finding] = RuntimeError(f"MLflow: {one_line(error)}")
    return failed


@dataclass(frozen=True)
class _Removal:
    """Deletes the objects below an address."""

    uri: str

    def __call__(self) -> None:
        s3.remove_prefix(self.uri)


@dataclass(frozen=True, kw_only=True)
class _RunRemoval:
    """Deletes a run: from the cluster, then its objects, then from MLflow."""

    cluster: Kubeflow
    run_id: str
    line: str
    """Whose other runs must not be in progress; empty for a run of which nothing is left to take."""
    on_cluster: bool
    objects: str
    """Address of its objects; empty for none."""
    recorded: RecordedRun | None

    def __call__(self) -> None:
        if self.line and self.line in map(_line_of_run, self.cluster.runs_in_progress()):
            raise StillNeededError(f"a run of {self.line} is in progress meanwhile")
        if self.recorded:
            check_unneeded(self.recorded)
        if self.on_cluster:
            self.cluster.delete_run(self.run_id)
        if self.objects:
            s3.remove_prefix(self.objects)
        if self.recorded:
            forget(self.recorded)


def _all_runs(inventory: Inventory) -> list[str]:
    return sorted({*inventory.runs, *inventory.recorded})


def _kept_runs(inventory: Inventory, before: datetime) -> dict[str, str]:
    """Why runs stay, by id."""
    latest = _latest_successes(inventory.recorded.values())
    busy = {run.line for run in inventory.runs.values() if not run.ended}
    kept = dict[str, str]()
    for run_id in _all_runs(inventory):
        run, record = inventory.runs.get(run_id), inventory.recorded.get(run_id)
        in_progress = not run.ended if run else record is not None and record.status == RUNNING
        reasons = {
            "in progress": in_progress,
            record.needed_by if record else "": record is not None and bool(record.needed_by),
            "latest success of its line": run_id in latest,
            "younger": _since(run, record) >= before,
            "a run of its line is in progress": (record.line if record else run.line if run else "") in busy,
        }
        if why := next((reason for reason, holds in reasons.items() if holds), ""):
            kept[run_id] = why
    return kept | _sources(inventory.recorded, kept)


def _latest_successes(recorded: Iterable[RecordedRun]) -> set[str]:
    """The newest run of each line that succeeded, by id."""
    finished = sorted((run for run in recorded if run.status == FINISHED), key=lambda run: run.started)
    return set({run.line: run.run_id for run in finished}.values())


def _sources(recorded: Mapping[str, RecordedRun], kept: Iterable[str]) -> dict[str, str]:
    """Runs whose results kept runs took from the cache, directly or not, that are not kept themselves, and why."""
    known, waiting, found = set(kept), list(kept), dict[str, str]()
    while waiting:
        user = waiting.pop()
        for source in sorted(recorded[user].reused - known) if user in recorded else ():
            found[source] = f"run {user} took results of it from the cache"
            known.add(source)
            waiting.append(source)
    return found


def _run_finding(
    cluster: Kubeflow, inventory: Inventory, limits: Limits, run_id: str, kept: Mapping[str, str]
) -> Finding:
    run, record, folders = inventory.runs.get(run_id), inventory.recorded.get(run_id), inventory.folders
    line = record.line if record else run.line if run else ""
    since, why = _since(run, record), kept.get(run_id, "")
    gone = sorted(record.computed - folders.get(run_id, frozenset())) if record and folders is not None else []
    if run and run.ended and why and gone:
        # The cache would hand on what is gone, whoever needs the run; MLflow keeps its record.
        removal = _RunRemoval(cluster=cluster, run_id=run_id, line="", on_cluster=True, objects="", recorded=None)
        reason = f"its artifacts are gone: {', '.join(gone)}; the cache must not hand them on"
        return Finding(kind=LOST, name=run_id, line=line, since=since, reason=reason, delete=removal)
    there = folders is not None and run_id in folders
    objects = f"{limits.pipeline_root.rstrip('/')}/{PIPELINE_NAME}/{run_id}" if there else ""
    removal = _RunRemoval(
        cluster=cluster, run_id=run_id, line=line, on_cluster=run is not None, objects=objects, recorded=record
    )
    parts = {"the cluster": run, "its objects": objects, "MLflow": record}
    reason = f"old, not needed; in {', '.join(name for name, part in parts.items() if part)}"
    return Finding(kind=RUN, name=run_id, line=line, since=since, kept=why, reason=reason, delete=removal)


def _version_findings(
    cluster: Kubeflow, inventory: Inventory, before: datetime, kept: Mapping[str, str]
) -> list[Finding]:
    """The pipeline's versions: those of recurring runs, of kept runs and the newest of each line stay."""
    used = {run.version_id for run in inventory.runs.values() if run.run_id in kept}
    newest = dict[str, Any]()
    for version in sorted(inventory.versions, key=lambda version: version.created_at):
        newest[_line_of(version)] = version.pipeline_version_id
    found = []
    for version in inventory.versions:
        own = version.pipeline_version_id
        reasons = {
            "a recurring run starts it": own in inventory.scheduled_versions,
            "a kept run is one of it": own in used,
            "newest of its line": own == newest[_line_of(version)],
            "younger": version.created_at >= before,
        }
        why = next((reason for reason, holds in reasons.items() if holds), "")
        name, line, since = version.display_name or own, _line_of(version), version.created_at
        removal = _VersionRemoval(cluster, version.pipeline_id, own)
        found.append(
            Finding(kind=VERSION, name=name, line=line, since=since, kept=why, reason="old, unused", delete=removal)
        )
    return found


@dataclass(frozen=True)
class _VersionRemoval:
    """Deletes a version of the pipeline, unless a recurring run has come to start it."""

    cluster: Kubeflow
    pipeline_id: str
    version_id: str

    def __call__(self) -> None:
        references = [run.pipeline_version_reference for run in self.cluster.recurring_runs()]
        if self.version_id in [reference.pipeline_version_id for reference in references if reference]:
            raise StillNeededError("a recurring run starts it meanwhile")
        self.cluster.delete_version(self.pipeline_id, self.version_id)


def _line_of(version: Any) -> str:
    """A version's name is LINE-VERSION-DIGEST, see `submission.Package`."""
    return str(version.display_name or version.name or "").rsplit("-", 2)[0]


def _cluster_run(run: Any) -> ClusterRun:
    reference = run.pipeline_version_reference
    return ClusterRun(
        run_id=run.run_id,
        line=_line_of_run(run),
        created=run.created_at,
        ended=run.state in ENDED,
        pipeline_id=str(reference.pipeline_id or "") if reference else "",
        version_id=str(reference.pipeline_version_id or "") if reference else "",
    )


def _line_of_run(run: Any) -> str:
    parameters = (run.runtime_config.parameters or {}) if run.runtime_config else {}
    return str(parameters.get("line", ""))


def _since(run: ClusterRun | None, record: RecordedRun | None) -> datetime:
    """When a run began, the later of what the cluster and MLflow say."""
    times = [*([run.created] if run else []), *([record.started] if record else [])]
    return max(times)


def _run_folders(root: str) -> dict[str, frozenset[str]]:
    """Tasks with objects, by run; objects are named PIPELINE/RUN/TASK/EXECUTION/ARTIFACT below the root."""
    found: dict[str, set[str]] = {}
    for item in s3.listing(f"{root.rstrip('/')}/{PIPELINE_NAME}"):
        run_id, _, rest = item.name.partition("/")
        found.setdefault(run_id, set()).add(rest.partition("/")[0])
    return {run_id: frozenset(tasks) for run_id, tasks in found.items()}


def _checkpoints(root: str) -> dict[str, datetime]:
    written = dict[str, datetime]()
    for item in s3.listing(root):
        name = item.name.partition("/")[0]
        written[name] = max(item.modified, written.get(name, item.modified))
    return written
