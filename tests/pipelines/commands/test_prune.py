"""What is pruned, and what never is: by an inventory, and by the command with MLflow and the API's server."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import kfp_server_api as api
import pytest
from mlflow import MlflowClient

from components.errors import InputError
from components.registry.retention import RecordedRun, recorded_runs
from components.storage import s3
from components.tracking.client import experiment_id
from pipelines.cluster import pruning
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.pruning import ClusterRun, Inventory, Limits, findings, take_inventory
from pipelines.cluster.transport import ClusterAnswerError, ClusterUnavailableError, Connection
from tests.conftest import NewDatabase
from tests.pipelines.cluster_lines import write_line
from tests.pipelines.kfp_api import KfpApi
from tests.pipelines.vigil import Vigil

NOW = datetime(2026, 6, 1, tzinfo=UTC)
LIMITS = Limits(before=NOW - timedelta(days=90))


def cluster_run(run_id: str, days: int, *, ended: bool = True, version: str = "v1", line: str = "bolts") -> ClusterRun:
    created = NOW - timedelta(days=days)
    return ClusterRun(run_id=run_id, line=line, created=created, ended=ended, pipeline_id="p", version_id=version)


def recorded(run_id: str, days: int, *, status: str = "FAILED", needed: str = "", **found: Any) -> RecordedRun:
    return RecordedRun(
        line="bolts",
        run_id=run_id,
        started=NOW - timedelta(days=days),
        status=status,
        mlflow_ids=(f"m-{run_id}",),
        computed=frozenset(found.get("computed", ())),
        reused=frozenset(found.get("reused", ())),
        needed_by=needed,
    )


def version(number: str, days: int, line: str = "bolts") -> Any:
    name, created = f"{line}-0.1.0-{number}", NOW - timedelta(days=days)
    return api.V2beta1PipelineVersion(
        pipeline_id="p", pipeline_version_id=number, display_name=name, name=name, created_at=created
    )


def inventory(*items: ClusterRun | RecordedRun, **other: Any) -> Inventory:
    return Inventory(
        runs={item.run_id: item for item in items if isinstance(item, ClusterRun)},
        recorded={item.run_id: item for item in items if isinstance(item, RecordedRun)},
        versions=other.get("versions", ()),
        scheduled_versions=frozenset(other.get("scheduled", ())),
        folders=other.get("folders"),
        checkpoints=other.get("checkpoints", {}),
    )


def kept(found: Inventory, limits: Limits = LIMITS) -> dict[str, str]:
    """Why things stay, by name; empty for what is deleted."""
    return {finding.name: finding.kept for finding in findings(cast("Kubeflow", None), found, limits)}


def test_what_a_line_needs_stays_at_any_age() -> None:
    found = inventory(
        *(cluster_run(name, 400) for name in ("champion", "success", "old", "source", "root")),
        cluster_run("pending", 400, ended=False, line="nuts"),
        cluster_run("reusable", 500, line="nuts"),
        cluster_run("young", 10),
        recorded("champion", 400, needed="version 3, champion", reused=("source",)),
        recorded("source", 400, reused=("root",)),
        recorded("root", 400),
        recorded("success", 300, status="FINISHED"),
        recorded("earlier", 301, status="FINISHED"),
        recorded("waiting", 400, status="RUNNING"),
    )
    assert kept(found) == {
        "champion": "version 3, champion",
        "source": "run champion took results of it from the cache",
        "root": "run source took results of it from the cache",
        "success": "latest success of its line",
        "pending": "in progress",
        "reusable": "a run of its line is in progress",
        "waiting": "in progress",
        "young": "younger",
        "old": "",
        "earlier": "",
    }


def test_versions_that_somebody_may_start_stay() -> None:
    found = inventory(
        cluster_run("young", 1, version="used"),
        cluster_run("old", 100, version="gone"),
        versions=[
            *(version(number, 100 + days) for days, number in enumerate(("newest", "used", "scheduled", "gone"))),
            version("other", 200, "nuts"),
            version("fresh", 5, "pins"),
            version("freshest", 4, "pins"),
        ],
        scheduled=["scheduled"],
    )
    reasons = {name.rpartition("-")[2]: why for name, why in kept(found).items() if "-0.1.0-" in name}
    assert reasons == {
        "newest": "newest of its line",
        "used": "a kept run is one of it",
        "scheduled": "a recurring run starts it",
        "gone": "",
        "other": "newest of its line",
        "fresh": "younger",
        "freshest": "newest of its line",
    }


def test_a_run_whose_artifacts_are_gone_leaves_the_cluster_and_the_cache_whoever_needs_it() -> None:
    limits = dataclasses.replace(LIMITS, pipeline_root="s3://mlpipeline/v2/artifacts")
    stages = ("dataset", "vqgan")
    found = inventory(
        *(cluster_run(name, 10, ended=name != "running") for name in ("whole", "lost", "cached", "running")),
        *(recorded(name, 10, computed=stages) for name in ("whole", "lost", "running")),
        recorded("cached", 10, computed=(), reused=("whole",)),
        folders={"whole": frozenset(stages), "lost": frozenset({"dataset"})},
    )
    by_name = {finding.name: finding for finding in findings(cast("Kubeflow", None), found, limits)}
    assert {name: finding.kept for name, finding in by_name.items()} == {
        "whole": "younger",
        "cached": "younger",
        "running": "in progress",
        "lost": "",
    }
    assert (by_name["lost"].kind, by_name["lost"].reason.partition(";")[0]) == (
        "lost run",
        "its artifacts are gone: vqgan",
    )


@pytest.mark.parametrize(
    ("busy", "days", "why"), [(True, 200, "runs are in progress"), (False, 200, ""), (False, 2, "younger")]
)
def test_checkpoints_stay_while_a_run_may_go_on_from_them(busy: bool, days: int, why: str) -> None:
    written = {"a" * 64: NOW - timedelta(days=days)}
    found = inventory(cluster_run("run", 1, ended=not busy), checkpoints=written)
    assert kept(found, dataclasses.replace(LIMITS, checkpoints="s3://b/checkpoints"))["a" * 12] == why


def test_what_fails_stops_nothing_else_but_a_cluster_that_is_away_does() -> None:
    def finding(name: str, error: Exception | None = None, kept: str = "") -> pruning.Finding:
        def delete() -> None:
            if error:
                raise error
            deleted.append(name)

        return pruning.Finding(kind="run", name=name, line="", since=NOW, kept=kept, delete=delete)

    deleted: list[str] = []
    gone, refused = ClusterUnavailableError("away"), ClusterAnswerError("boom", 500)
    found = [finding("a", refused), finding("b"), finding("c", kept="young"), finding("d", gone), finding("e")]
    failed = pruning.carry_out(found)
    assert (deleted, [(item.name, error) for item, error in failed.items()]) == (
        ["b"],
        [("a", refused), ("d", gone), ("e", gone)],
    )


def test_a_run_that_began_meanwhile_keeps_those_of_its_line(kfp_api: KfpApi, runs: dict[str, str]) -> None:
    cluster = Kubeflow(Connection(host=kfp_api.url))
    limits = Limits(before=datetime.now(UTC) - timedelta(days=1))
    found = findings(cluster, take_inventory(cluster, limits), limits)
    kfp_api.items["runs"][3]["state"] = "RUNNING"
    failed = pruning.carry_out(found)
    assert [str(error) for error in failed.values()] == ["a run of bolts is in progress meanwhile"]
    assert len(names(kfp_api)) == 4


@pytest.fixture
def mlflow(new_database: NewDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """MLflow's database, as the environment names it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", new_database(tmp_path))
    return MlflowClient()


def record(client: MlflowClient, run_id: str, *stages: tuple[str, str], status: str = "FINISHED") -> str:
    """Record a pipeline run of `bolts` with stages and what they were taken from the cache of."""
    begun = 1_767_225_600_000 + 1000 * int(run_id.rpartition("-")[2])  # as the runs of the API's server
    experiment = experiment_id(client, "bolts")
    parent = client.create_run(experiment, begun, {"vigil.run_id": run_id, "vigil.stage": "pipeline"}).info.run_id
    for stage, source in stages:
        tags = {"mlflow.parentRunId": parent, "vigil.stage": stage} | ({"vigil.cached": source} if source else {})
        client.set_terminated(client.create_run(experiment, begun, tags).info.run_id)
    client.set_terminated(parent, status)
    return str(parent)


def names(api_server: KfpApi) -> list[str]:
    return [run["run_id"] for run in api_server.items["runs"]]


@pytest.fixture
def runs(vigil: Vigil, kfp_api: KfpApi, mlflow: MlflowClient, tmp_path: Path) -> dict[str, str]:
    """Four runs of `bolts` on the cluster and in MLflow: MLflow's ids by the cluster's.

    The first computed, the second took its data set, is the champion's, the third is not needed, the fourth the latest.
    """
    for _ in range(4):
        assert vigil("submit", write_line(tmp_path / "lines", "bolts")).code == 0
    for run in kfp_api.items["runs"]:
        run["state"] = "SUCCEEDED"
    first, second, third, fourth = names(kfp_api)
    recorded_as = {
        first: record(mlflow, first, ("dataset", ""), status="FAILED"),
        second: record(mlflow, second, ("dataset", first), ("detection patchcore/none", "")),
        third: record(mlflow, third, ("dataset", ""), ("fingerprint", "")),
        fourth: record(mlflow, fourth, ("dataset", "")),
    }
    mlflow.create_registered_model("bolts")
    for run_id in (second, third):
        made = mlflow.create_model_version("bolts", "file:///model", recorded_as[run_id], tags={"vigil.run_id": run_id})
    mlflow.set_registered_model_alias("bolts", "champion", "1")
    assert made.version in (2, "2")
    return recorded_as


def test_only_what_nothing_needs_is_deleted(
    vigil: Vigil, kfp_api: KfpApi, mlflow: MlflowClient, runs: dict[str, str]
) -> None:
    first, second, third, fourth = runs
    dry = vigil("prune", "--older-than", "1")
    assert (dry.code, dry.err, names(kfp_api)) == (0, "", [*runs])
    assert f"{third}  bolts" in dry.out
    assert f"run {second} took results of it from the cache" in dry.out
    assert "1 to delete, 4 kept\ndry run: nothing was deleted" in dry.out
    done = vigil("prune", "--older-than", "1", "--apply")
    assert (done.code, done.err, names(kfp_api)) == (0, "", [first, second, fourth])
    assert mlflow.get_run(runs[third]).info.lifecycle_stage == "deleted"
    assert {run.run_id for run in recorded_runs(["bolts"])} == {first, second, fourth}
    assert [version.version for version in mlflow.search_model_versions("name = 'bolts'")] == [1]
    again = vigil("prune", "--older-than", "1", "--apply")
    assert "0 deleted, 4 kept" in again.out


def test_a_failure_leaves_what_the_same_command_goes_on_from(
    vigil: Vigil, kfp_api: KfpApi, mlflow: MlflowClient, runs: dict[str, str]
) -> None:
    _, _, third, _ = runs
    kfp_api.fail(500, "DELETE", "/runs/", body='{"message": "database is locked"}')
    done = vigil("prune", "--older-than", "1", "--apply")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "1 of 1 not deleted, run the same command again: " in done.err
    assert "database is locked" in done.err
    assert mlflow.get_run(runs[third]).info.lifecycle_stage == "active"
    kfp_api.faults.clear()
    kfp_api.items["runs"] = [
        run for run in kfp_api.items["runs"] if run["run_id"] != third
    ]  # as deleted before a crash
    assert vigil("prune", "--older-than", "1", "--apply").code == 0
    assert mlflow.get_run(runs[third]).info.lifecycle_stage == "deleted"


def test_a_version_that_became_the_champion_meanwhile_stays(
    kfp_api: KfpApi, mlflow: MlflowClient, runs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Kubeflow(Connection(host=kfp_api.url))
    limits = Limits(before=datetime.now(UTC) - timedelta(days=1))
    found = findings(cluster, take_inventory(cluster, limits), limits)
    mlflow.set_registered_model_alias("bolts", "champion", "2")
    failed = pruning.carry_out(found)
    assert [str(error) for error in failed.values()] == ["version 2 of bolts is champion meanwhile"]
    assert len(names(kfp_api)) == 4


def test_prune_asks_for_what_it_must_know(vigil: Vigil, kfp_api: KfpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = vigil("prune")
    assert (done.code, "tracking URI: got none" in done.err) == (2, True)
    done = vigil("prune", "--pipeline-root", "s3://mlpipeline")
    assert (done.code, "--pipeline-root: got 's3://mlpipeline'" in done.err) == (2, True)
    assert vigil("prune", "--older-than", "0").code == 2
    assert kfp_api.calls == []


@pytest.mark.s3
def test_objects_go_with_their_run_and_a_wrong_root_is_refused(
    vigil: Vigil, kfp_api: KfpApi, runs: dict[str, str], prefix: str, tmp_path: Path
) -> None:
    first, second, third, fourth = runs
    file = tmp_path / "object"
    file.write_bytes(b"content")
    for run_id, stage in ((first, "dataset"), (second, "detection"), (third, "dataset")):
        s3.publish_file(file, f"{prefix}/root/vigil-training/{run_id}/{stage}/1/reference/summary.json")
    s3.publish_file(file, f"{prefix}/checkpoints/{'a' * 64}/state.safetensors")
    wrong = vigil("prune", "--pipeline-root", f"{prefix}/other")
    assert (wrong.code, "has nothing of any run" in wrong.err) == (2, True)
    options = ("--older-than", "1", "--pipeline-root", f"{prefix}/root", "--checkpoints", f"{prefix}/checkpoints")
    done = vigil("prune", *options, "--apply")
    assert (done.code, done.err) == (0, "")
    assert "its artifacts are gone: dataset" in done.out  # of the fourth
    assert names(kfp_api) == [first, second]
    left = {item.name.split("/")[1] for item in s3.listing(f"{prefix}/root")}
    assert left == {first, second}
    assert [item.size for item in s3.listing(f"{prefix}/checkpoints")] == [7]
    assert {run.run_id for run in recorded_runs(["bolts"])} == {first, second, fourth}


def test_prefixes_of_nothing_are_not_removed() -> None:
    with pytest.raises(InputError):
        s3.remove_prefix("s3://bucket")
