"""What each task carries for Kubernetes: resources, nodes, secrets, retries. Written by kfp-kubernetes."""

from typing import TYPE_CHECKING

from components import task_environment
from pipelines.lines.cluster import Cluster, Resources
from pipelines.lines.stages import Stage

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

CONFIG_MAP_KEYS = (*task_environment.ADDRESSES, *task_environment.NETWORK)
"""Keys of the ConfigMap that reach a task's environment."""
S3_FOLDER = "/etc/vigil/s3"
"""Where the object store's Secret is mounted, when it is."""
LINE_LABEL, STAGE_LABEL = "vigil/line", "vigil/stage"


def apply_settings(task: "PipelineTask", stage: Stage, cluster: Cluster, line: str = "") -> None:
    """Write the settings of a stage into its task, with pod labels for the stage and, where it is given, the line."""
    from kfp import kubernetes

    from components.tracking.events import RUN_ID

    _limit(task, cluster.resources(stage.resources))
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
    if cluster.run_as_user:
        kubernetes.set_security_context(task, run_as_user=cluster.run_as_user, run_as_non_root=True)
    if not stage.own_run:
        kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
    _add_environment(task, cluster)
    own = {STAGE_LABEL: stage.name, **({LINE_LABEL: line.rstrip("._-")} if line else {})}
    for key, value in sorted({**cluster.labels, **own}.items()):
        kubernetes.add_pod_label(task, key, value)


def _limit(task: "PipelineTask", resources: Resources) -> None:
    from kfp import kubernetes

    if resources.cpu:
        task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
    if resources.memory:
        task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
    if resources.gpu:
        task.set_accelerator_type(resources.accelerator).set_accelerator_limit(resources.gpu)
    if resources.shared_memory:
        kubernetes.empty_dir_mount(task, "shared-memory", "/dev/shm", "Memory", resources.shared_memory)  # noqa: S108
    for key, value in sorted(resources.node_selector.items()):
        kubernetes.add_node_selector(task, key, value)
    for toleration in resources.tolerations:
        kubernetes.add_toleration(task, **toleration)


def _add_environment(task: "PipelineTask", cluster: Cluster) -> None:
    """Addresses and keys, each optional, and the names of what holds them, by which a task finds what is missing."""
    from kfp import kubernetes

    def same(names: tuple[str, ...]) -> dict[str, str]:
        return {name: name for name in names}

    if cluster.config_map:
        kubernetes.use_config_map_as_env(task, cluster.config_map, same(CONFIG_MAP_KEYS), optional=True)
    if cluster.s3_secret and cluster.s3_secret_mount:
        kubernetes.use_secret_as_volume(task, cluster.s3_secret, S3_FOLDER, optional=True)
        task.set_env_variable("S3_CREDENTIALS_DIR", S3_FOLDER)
    elif cluster.s3_secret:
        kubernetes.use_secret_as_env(task, cluster.s3_secret, same(task_environment.S3_KEYS), optional=True)
    if cluster.mlflow_secret:
        kubernetes.use_secret_as_env(task, cluster.mlflow_secret, same(task_environment.MLFLOW_KEYS), optional=True)
    if cluster.ca_config_map:
        kubernetes.use_config_map_as_volume(task, cluster.ca_config_map, task_environment.CA_FOLDER, optional=True)
    for variable, name in (
        (task_environment.CONFIG_MAP, cluster.config_map),
        (task_environment.CA_CONFIG_MAP, cluster.ca_config_map),
        (task_environment.S3_SECRET, cluster.s3_secret),
        (task_environment.MLFLOW_SECRET, cluster.mlflow_secret),
    ):
        if name:
            task.set_env_variable(variable, name)
