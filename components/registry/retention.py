"""Which pipeline runs MLflow remembers, what the registered models need of them, and how one is forgotten."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from components.registry.promotion import needed_versions
from components.tracking.client import pages, tracking_client
from components.tracking.events import CACHED_TAG, FINGERPRINT, PARENT_TAG, PIPELINE, RUN_ID_TAG, STAGE_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

_PAGE = 1000
_WITHOUT_ARTIFACT = (FINGERPRINT, "conclusion")


class StillNeededError(RuntimeError):
    """A registered model has come to need a run meanwhile."""


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """A pipeline run in MLflow, with its stages and the versions that it registered."""

    line: str
    run_id: str
    """`VIGIL_RUN_ID`: on a cluster the id of the run there."""
    started: datetime
    status: str
    """`RUNNING`, `FINISHED`, `FAILED` or `KILLED`."""
    mlflow_ids: tuple[str, ...]
    """Its MLflow runs, those of its stages first."""
    computed: frozenset[str]
    """Stages that finished in it and left an artifact, named as tasks."""
    reused: frozenset[str]
    """Pipeline runs whose results it took from the cache."""
    versions: tuple[str, ...] = ()
    needed_by: str = ""
    """The version that an alias names or a rollback goes back to, if it has registered one."""


def recorded_runs(lines: Iterable[str]) -> list[RecordedRun]:
    """Pipeline runs of lines, each once; nothing is changed. Raises MLflow's errors."""
    client, found = tracking_client(), []
    for line in sorted(set(lines)):
        experiment = client.get_experiment_by_name(line)
        if experiment is None:
            continue
        needed, registered = needed_versions(client, line), _versions_by_run(client, line)
        runs = list(pages(client.search_runs, experiment_ids=[experiment.experiment_id], max_results=_PAGE))
        stages: dict[str, list[Any]] = {}
        for run in runs:
            stages.setdefault(run.data.tags.get(PARENT_TAG, ""), []).append(run)
        for run in runs:
            run_id = run.data.tags.get(RUN_ID_TAG, "")
            if run_id and run.data.tags.get(STAGE_TAG) == PIPELINE:
                versions = tuple(str(version.version) for version in registered.get(run_id, ()))
                found.append(_recorded(line, run, stages.get(run.info.run_id, []), versions, needed))
    return found


def check_unneeded(run: RecordedRun) -> None:
    """Raise `StillNeededError` where a version of the run has got an alias since it was read."""
    needed = needed_versions(tracking_client(), run.line)
    for version in run.versions:
        if version in needed:
            raise StillNeededError(f"version {version} of {run.line} is {needed[version]} meanwhile")


def forget(run: RecordedRun) -> None:
    """Delete a run's versions and its MLflow runs, that of the pipeline last, so that a failure can be followed up.

    MLflow keeps deleted runs and their files until its administrator calls `mlflow gc`.
    """
    check_unneeded(run)
    client = tracking_client()
    for version in run.versions:
        client.delete_model_version(run.line, version)
    for mlflow_id in run.mlflow_ids:
        client.delete_run(mlflow_id)


def _recorded(line: str, run: Any, stages: list[Any], versions: tuple[str, ...], needed: dict[str, str]) -> RecordedRun:
    cached = {stage.data.tags[CACHED_TAG] for stage in stages if CACHED_TAG in stage.data.tags}
    own = [stage for stage in stages if CACHED_TAG not in stage.data.tags and stage.info.status == "FINISHED"]
    names = {str(stage.data.tags.get(STAGE_TAG, "")).partition(" ")[0].replace("_", "-") for stage in own}
    reasons = [f"version {version}, {needed[version]}" for version in versions if version in needed]
    return RecordedRun(
        line=line,
        run_id=run.data.tags[RUN_ID_TAG],
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        status=run.info.status,
        mlflow_ids=(*(stage.info.run_id for stage in stages), run.info.run_id),
        computed=frozenset(names - {"", *_WITHOUT_ARTIFACT}),
        reused=frozenset(cached - {""}),
        versions=versions,
        needed_by="; ".join(reasons),
    )


def _versions_by_run(client: "MlflowClient", line: str) -> "dict[str, list[ModelVersion]]":
    found: dict[str, list[ModelVersion]] = {}
    for version in pages(client.search_model_versions, filter_string=f"name = '{line}'", max_results=_PAGE):
        found.setdefault(version.tags.get(RUN_ID_TAG, ""), []).append(version)
    return found
