"""When a run in MLflow last showed a sign of life."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

HEARTBEAT = "system/cpu_utilization_percentage"
"""Metric of MLflow's system metrics monitor, which watches every stage; a running stage without it has crashed."""


def last_beat(client: "MlflowClient", run: "Run") -> int:
    """Milliseconds since the epoch of a stage's last sample, or of its start."""
    beats = [int(beat.timestamp) for beat in client.get_metric_history(run.info.run_id, HEARTBEAT)]
    return max([int(run.info.start_time), *beats])


def last_sign(client: "MlflowClient", run: "Run", stages: "Sequence[Run]") -> int:
    """Milliseconds since the epoch of a pipeline run's last sign: of its running stages, or the last end of one."""
    running = [stage for stage in stages if stage.info.status == "RUNNING"]
    if running:
        return max(last_beat(client, stage) for stage in running)
    return max([int(run.info.start_time), *(int(stage.info.end_time or stage.info.start_time) for stage in stages)])
