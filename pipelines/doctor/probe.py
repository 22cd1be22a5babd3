"""A pipeline of one small task that asks MLflow and the object store as every task would."""

from typing import Any

from kfp import dsl

from components.stage.images import image
from pipelines.dags.task_settings import apply_settings
from pipelines.lines.cluster import Cluster
from pipelines.lines.stages import Stage

PIPELINE_NAME = "vigil-probe"


@dsl.component(base_image=image("cli"), install_kfp_package=False)
def probe(buckets: list[str]) -> None:
    """Ask MLflow and the object store; fails with what is wrong, and its mend.

    Args:
        buckets: buckets that are asked for beside those of the environment, s3://BUCKET.
    """
    from pipelines.doctor.task import examine_task

    examine_task(buckets)


def probe_pipeline(cluster: Cluster) -> Any:
    """The pipeline, whose task has the settings of all tasks."""

    def pipeline(buckets: list[str]) -> None:
        """Ask MLflow and the object store from a pod as the tasks' pods are."""
        task = probe(buckets=buckets)
        task.set_caching_options(False)
        apply_settings(task, Stage("probe", "cli", cached=False, own_run=True), cluster)

    return dsl.pipeline(name=PIPELINE_NAME)(pipeline)
