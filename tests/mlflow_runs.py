"""Writes pipeline runs into MLflow as the stages do, without running them."""

from collections.abc import Mapping

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

_PARAMS = {
    "object": "bolt",
    "profile": "embedded",
    "dataset_shots": "1",
    "vqgan_steps": "20",
    "registration_min_gain": "0.0",
}


def write_run(
    client: MlflowClient,
    line: str,
    run_id: str,
    aurocs: Mapping[str, float],
    *,
    seed: int = 0,
    start: int = 1_790_000_000_000,
    status: str = "FINISHED",
    digest: str = "d" * 64,
    tags: Mapping[str, str] | None = None,
    cached_from: str = "",
) -> str:
    """Write a pipeline run with its evaluation; `start` is in milliseconds. Returns MLflow's id."""
    experiment = client.get_experiment_by_name(line)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(line)
    own = {
        "vigil.run_id": run_id,
        "vigil.stage": "pipeline",
        "vigil.line": line,
        "vigil.version": "1.0",
        "vigil.dataset_digest": digest,
        **(tags or {}),
    }
    parent = str(client.create_run(experiment_id, start_time=start, tags=own).info.run_id)
    nested = {"mlflow.parentRunId": parent, "vigil.stage": "evaluation"}
    nested |= {"vigil.cached": cached_from} if cached_from else {}
    stage = client.create_run(experiment_id, start_time=start, tags=nested).info.run_id
    metrics = [Metric(f"patchcore.{name}.image_auroc", auroc, start, 0) for name, auroc in aurocs.items()]
    params = [Param(name, value) for name, value in (_PARAMS | {"seed": str(seed)}).items()] if aurocs else []
    client.log_batch(parent, metrics=[*metrics, Metric("patchcore.gain", 0.1, start, 0)], params=params)
    for run in (stage, parent):
        if status != "RUNNING":
            client.set_terminated(run, status, end_time=start + 60_000)
    return parent


def write_drift(client: MlflowClient, line: str, retrain: str, reasons: str, start: int = 1_790_000_000_000) -> None:
    """Write a measurement of drift."""
    tags = {"vigil.stage": "drift", "vigil.retrain": retrain, "vigil.retrain_reasons": reasons}
    experiment_id = client.get_experiment_by_name(line).experiment_id
    client.set_terminated(client.create_run(experiment_id, start_time=start, tags=tags).info.run_id)
