"""What each task carries for Kubernetes: resources, nodes, mounts, retries. Written by kfp-kubernetes."""

from typing import TYPE_CHECKING

from components import task_environment
from components.stage.resources import GPUS
from pipelines.lines.cluster import CACHE, Cluster, Resources, need
from pipelines.lines.stages import Stage

if TYPE_CHECKING:
    from kfp.dsl import PipelineConfig, PipelineTask

WEBHOOK, WEBHOOK_FOLDER = "VIGIL_WEBHOOK_DIR", "/etc/vigil/webhook"
"""Where the last stage finds the webhook's address."""
LINE_LABEL, STAGE_LABEL = "vigil/line", "vigil/stage"


def pipeline_config(cluster: Cluster | None) -> "PipelineConfig | None":
    """The deadline of a run and how long its pods are kept; None where the settings give neither."""
    from kfp import dsl

    if cluster is None or not (cluster.run_timeout_seconds or cluster.ttl_seconds):
        return None
    return dsl.PipelineConfig(
        active_deadline_seconds=cluster.run_timeout_seconds or None,
        ttl_seconds_after_finished=cluster.ttl_seconds or None,
    )


def apply_settings(task: "PipelineTask", stage: Stage, cluster: Cluster, line: str = "") -> None:
    """Write the settings of a stage into its task, with pod labels for the stage and, where it is given, the line."""
    from kfp import kubernetes

    from components.tracking.events import RUN_ID

    _limit(task, stage, cluster.resources(stage.resources))
    if cluster.retries:
        # Argo counts the window of all attempts, their pauses included, from the first attempt's start, waiting for a
        # node too, here a week; it starts none after it and ends one that runs. kfp's own default is an hour.
        window = (cluster.retries + 1) * max(cluster.timeout_seconds, 7 * 86400)
        window += sum(cluster.backoff_seconds << number for number in range(cluster.retries))
        task.set_retry(cluster.retries, f"{cluster.backoff_seconds}s", 2.0, f"{window}s")
    if cluster.timeout_seconds:
        kubernetes.set_timeout(task, cluster.timeout_seconds)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    if cluster.webhook_secret and stage.name == "conclusion":
        # Without the Secret, the notice is a warning in the task's log.
        kubernetes.use_secret_as_volume(task, cluster.webhook_secret, WEBHOOK_FOLDER, optional=True)
        task.set_env_variable(WEBHOOK, WEBHOOK_FOLDER)
    if cluster.run_as_user:
        kubernetes.set_security_context(task, run_as_user=cluster.run_as_user, run_as_non_root=True)
    if not stage.own_run:
        kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
    _mount(task, cluster)
    own = {STAGE_LABEL: stage.name, **({LINE_LABEL: line.rstrip("._-")} if line else {})}
    for key, value in sorted({**cluster.labels, **own}.items()):
        kubernetes.add_pod_label(task, key, value)


def _limit(task: "PipelineTask", stage: Stage, resources: Resources) -> None:
    from kfp import kubernetes

    asked = need(stage.name, resources)
    if asked.cpu:
        task.set_cpu_request(asked.cpu).set_cpu_limit(asked.cpu_limit)
    if asked.memory:
        task.set_memory_request(asked.memory).set_memory_limit(asked.memory_limit)
    if resources.gpu:
        task.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.gpu)
        task.set_env_variable(GPUS, str(resources.gpu))
    if resources.shared_memory:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", resources.shared_memory)  # noqa: S108
    for key, value in sorted(resources.node_selector.items()):
        kubernetes.add_node_selector(task, key, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration)


def _mount(task: "PipelineTask", cluster: Cluster) -> None:
    """Addresses and keys, each optional, and the names of what holds them, by which a task finds what is missing.

    The task's environment gets `VIGIL_*` alone: Kubeflow's launcher has it too, and others set names beside it.
    """
    from kfp import kubernetes

    # The images write below /tmp only, so that a pod may have a root file system that is read-only.
    kubernetes.empty_dir_mount(task, "vigil-tmp", "/tmp")  # noqa: S108
    for variable, name, folder, mount in (
        (task_environment.CONFIG_MAP, cluster.config_map, task_environment.CONFIG_MAP_FOLDER, "config_map"),
        (task_environment.CA_CONFIG_MAP, cluster.ca_config_map, task_environment.CA_FOLDER, "config_map"),
        (task_environment.S3_SECRET, cluster.s3_secret, task_environment.S3_FOLDER, "secret"),
        (task_environment.MLFLOW_SECRET, cluster.mlflow_secret, task_environment.MLFLOW_FOLDER, "secret"),
    ):
        if name:
            mounted = kubernetes.use_secret_as_volume if mount == "secret" else kubernetes.use_config_map_as_volume
            mounted(task, name, folder, optional=True)
            task.set_env_variable(variable, name)
    for volume in cluster.volumes:
        kubernetes.mount_pvc(task, volume["claim"], volume["path"])
    if cluster.cache:
        task.set_env_variable(CACHE, cluster.cache)
