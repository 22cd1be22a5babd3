"""What Kubernetes is told about each task: resources, nodes, secrets, retries. Written by kfp-kubernetes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from components import task_environment
from components.errors import InputError, check, check_keys

if TYPE_CHECKING:
    from kfp.dsl import PipelineTask

LOOP, DETECTION, DRIFT = "generator", "detection", "drift"
"""Tasks with resources of their own: the fine-tuning loop, and the training of a detector."""

CONFIG_MAP_KEYS = (*task_environment.ADDRESSES, *task_environment.NETWORK)
"""Keys of the ConfigMap that reach a task's environment."""
CA_FOLDER = task_environment.CA_FOLDER
"""Where the private CA is mounted; `SSL_CERT_FILE` of the ConfigMap names a file in it."""
S3_FOLDER = "/etc/vigil/s3"
"""Where the object store's Secret is mounted, when it is."""
LINE_LABEL, STAGE_LABEL = "vigil/line", "vigil/stage"

_WEEK_SECONDS = 7 * 86400
_QUANTITY = re.compile(r"\d+([EPTGM]i?|Ki|k)?")
_CPU = re.compile(r"\d+(\.\d+)?|\d+m")
_KUBERNETES_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?")
_SHAPES: Mapping[type, str] = {tuple: "a list", dict: "keys with values", str: "a text"}
_TOLERATION_FIELDS = ("key", "operator", "value", "effect", "toleration_seconds")
_OPERATORS = (None, "Equal", "Exists")
_EFFECTS = (None, "NoExecute", "NoSchedule", "PreferNoSchedule")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one task asks of its node; an empty text asks for nothing."""

    cpu: str = ""
    """Cores, requested and not exceeded, such as `2` or `500m`."""
    memory: str = ""
    """Bytes, requested and not exceeded, such as `8Gi`."""
    gpu: int = 0
    """Number of accelerators."""
    accelerator: str = "nvidia.com/gpu"
    """Resource name of the accelerators."""
    shared_memory: str = ""
    """Size of /dev/shm, for data loaders, such as `2Gi`; counts as memory."""
    node_selector: Mapping[str, str] = field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: tuple[Mapping[str, Any], ...] = ()
    """Taints that are tolerated: key, operator, value, effect, toleration_seconds."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value that Kubernetes would refuse.
        """
        check(not self.cpu or bool(_CPU.fullmatch(self.cpu)), "cpu", self.cpu, "cores such as 2 or 500m")
        for name in ("memory", "shared_memory"):
            value = getattr(self, name)
            check(not value or bool(_QUANTITY.fullmatch(value)), name, value, "bytes such as 8Gi")
        check(0 <= self.gpu <= 64, "gpu", self.gpu, "0 to 64")
        check(bool(_LABEL_KEY.fullmatch(self.accelerator)), "accelerator", self.accelerator, "such as nvidia.com/gpu")
        _check_labels("node_selector", self.node_selector)
        for toleration in self.tolerations:
            _check_toleration(toleration)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Section `cluster` of a line: how its tasks run on Kubernetes. It changes no result, and no cache key."""

    task: Resources = field(default_factory=Resources)
    """Of every task."""
    generator: Resources = field(default_factory=Resources)
    """Of the fine-tuning loop; what it leaves out is taken from `task`."""
    detection: Resources = field(default_factory=Resources)
    """Of the training of a detector; what it leaves out is taken from `task`."""
    retries: int = 2
    """How often a failed task is started again."""
    backoff_seconds: int = 30
    """Pause before the first retry; it doubles with each."""
    timeout_seconds: int = 21600
    """After which an attempt of a task is ended; 0 for never."""
    config_map: str = "vigil-environment"
    """ConfigMap with addresses, see `CONFIG_MAP_KEYS`; a task fails where it is missing. Empty for none."""
    s3_secret: str = "vigil-s3"  # noqa: S105
    """Secret with the keys of the object store; access to the store fails where it is missing. Empty for anonymous."""
    s3_secret_mount: bool = False
    """Whether that Secret is a folder of files and not variables; its keys may be `accesskey` and `secretkey` then."""
    mlflow_secret: str = ""
    """Secret with the tracking server's user and password, or token; a task fails where it is missing."""
    ca_config_map: str = ""
    """ConfigMap with the private CA's certificates, mounted at `CA_FOLDER`; a task fails where it is missing."""
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets of the image registry."""
    run_as_user: int = 0
    """User id of the tasks; 0 leaves the image's own, which is not root."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Further labels of every pod."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value that Kubernetes would refuse.
        """
        check(0 <= self.retries <= 10, "cluster.retries", self.retries, "0 to 10")
        check(0 <= self.backoff_seconds <= 3600, "cluster.backoff_seconds", self.backoff_seconds, "0 to 3600")
        check(self.timeout_seconds >= 0, "cluster.timeout_seconds", self.timeout_seconds, "0 or more")
        check(self.run_as_user >= 0, "cluster.run_as_user", self.run_as_user, "0 or more")
        for name in ("config_map", "s3_secret", "mlflow_secret", "ca_config_map"):
            _check_name(f"cluster.{name}", getattr(self, name))
        for secret in self.image_pull_secrets:
            _check_name("cluster.image_pull_secrets", secret or None)
        _check_labels("cluster.labels", self.labels)
        expected = "false without cluster.s3_secret"
        check(bool(self.s3_secret) or not self.s3_secret_mount, "cluster.s3_secret_mount", True, expected)


def parse_cluster(content: Mapping[str, Any], defaults: Mapping[str, Any] | None = None) -> Cluster:
    """Check the section `cluster` of a line.

    Args:
        content: the section.
        defaults: a section of the whole cluster, which the line's completes and overrides key by key.

    Raises:
        InputError: a key or a value is wrong.
    """
    for given in (content, defaults or {}):
        _check_section("cluster", given, Cluster)
        for name in ("task", LOOP, DETECTION):
            _check_section(f"cluster.{name}", given.get(name, {}), Resources)
    merged = {**(defaults or {}), **content}
    base = {**(defaults or {}).get("task", {}), **content.get("task", {})}
    for name in ("task", LOOP, DETECTION):
        own = {**(defaults or {}).get(name, {}), **content.get(name, {})}
        merged[name] = _typed(f"cluster.{name}", {**base, **own}, Resources)
    return Cluster(**_typed_values("cluster", merged, Cluster))


def apply_settings(task: "PipelineTask", stage: str, cluster: Cluster, line: str = "") -> None:
    """Write the settings of a stage into its task.

    Args:
        task: the task; changed in place.
        stage: name of the stage, also the value of a pod label.
        cluster: settings of the line.
        line: name of the line for a pod label; empty in a package that serves all lines.
    """
    from kfp import kubernetes

    from components.tracking.events import RUN_ID

    _limit(task, getattr(cluster, stage) if stage in (LOOP, DETECTION) else cluster.task)
    if cluster.retries:
        task.set_retry(cluster.retries, f"{cluster.backoff_seconds}s", 2.0, f"{_retry_window(cluster)}s")
    if cluster.timeout_seconds:
        kubernetes.set_timeout(task, cluster.timeout_seconds)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    if cluster.run_as_user:
        kubernetes.set_security_context(task, run_as_user=cluster.run_as_user, run_as_non_root=True)
    if stage != DRIFT:  # a measurement of drift is a run by itself in MLflow, and no part of a training run
        kubernetes.use_field_path_as_env(task, RUN_ID, "metadata.labels['pipeline/runid']")
    _add_environment(task, cluster)
    own = {STAGE_LABEL: stage, **({LINE_LABEL: line.rstrip("._-")} if line else {})}
    labels = {**cluster.labels, **own}
    for key, value in sorted(labels.items()):
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


def _retry_window(cluster: Cluster) -> int:
    """Seconds that all attempts may take, pauses between them included.

    Argo counts them from the first attempt's start, time in which a pod waits for a node too, starts none after them
    and ends one that runs. kfp's own default is an hour.
    """
    attempts = (cluster.retries + 1) * max(cluster.timeout_seconds, _WEEK_SECONDS)
    return attempts + sum(cluster.backoff_seconds << number for number in range(cluster.retries))


def _add_environment(task: "PipelineTask", cluster: Cluster) -> None:
    """Addresses and keys, each optional, and the names of what holds them, by which a task finds what is missing."""
    from kfp import kubernetes

    if cluster.config_map:
        kubernetes.use_config_map_as_env(task, cluster.config_map, _same(CONFIG_MAP_KEYS), optional=True)
    if cluster.s3_secret and cluster.s3_secret_mount:
        kubernetes.use_secret_as_volume(task, cluster.s3_secret, S3_FOLDER, optional=True)
        task.set_env_variable("S3_CREDENTIALS_DIR", S3_FOLDER)
    elif cluster.s3_secret:
        kubernetes.use_secret_as_env(task, cluster.s3_secret, _same(task_environment.S3_KEYS), optional=True)
    if cluster.mlflow_secret:
        kubernetes.use_secret_as_env(task, cluster.mlflow_secret, _same(task_environment.MLFLOW_KEYS), optional=True)
    if cluster.ca_config_map:
        kubernetes.use_config_map_as_volume(task, cluster.ca_config_map, CA_FOLDER, optional=True)
    for variable, name in _names(cluster).items():
        if name:
            task.set_env_variable(variable, name)


def _names(cluster: Cluster) -> dict[str, str]:
    return {
        task_environment.CONFIG_MAP: cluster.config_map,
        task_environment.CA_CONFIG_MAP: cluster.ca_config_map,
        task_environment.S3_SECRET: cluster.s3_secret,
        task_environment.MLFLOW_SECRET: cluster.mlflow_secret,
    }


def _same(names: tuple[str, ...]) -> dict[str, str]:
    return {name: name for name in names}


def _typed(prefix: str, content: Mapping[str, Any], kind: type[Resources]) -> Resources:
    try:
        return kind(**_typed_values(prefix, content, kind))
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(prefix) else f"{prefix}.{error}") from error


def _typed_values(prefix: str, content: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Values with YAML's numbers as texts and lists as tuples, where the dataclass has them."""
    default = kind()
    return {name: _value(f"{prefix}.{name}", value, getattr(default, name)) for name, value in content.items()}


def _value(name: str, value: Any, default: Any) -> Any:
    if isinstance(default, str) and type(value) in (int, float):
        value = str(value)
    if isinstance(default, tuple) and isinstance(value, list):
        value = tuple(value)
    kind = type(default)
    check(type(value) is kind, name, value, _SHAPES.get(kind, kind.__name__))
    return value


def _check_section(prefix: str, content: Any, kind: type) -> None:
    known = [item.name for item in fields(kind)]
    if not isinstance(content, Mapping):
        raise InputError(f"{prefix}: got {content!r}, expected keys such as {', '.join(known[:3])}")
    check_keys(f"{prefix}.", content, known)


def _check_name(name: str, value: Any) -> None:
    expected = "the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"
    check(value == "" or (isinstance(value, str) and bool(_KUBERNETES_NAME.fullmatch(value))), name, value, expected)


def _check_toleration(toleration: Mapping[str, Any]) -> None:
    known = isinstance(toleration, Mapping) and set(toleration) <= set(_TOLERATION_FIELDS)
    check(known, "tolerations", toleration, f"keys among {', '.join(_TOLERATION_FIELDS)}")
    operator, effect = toleration.get("operator"), toleration.get("effect")
    check(operator in _OPERATORS, "tolerations.operator", operator, "Equal or Exists")
    check(effect in _EFFECTS, "tolerations.effect", effect, "NoExecute, NoSchedule or PreferNoSchedule")


def _check_labels(name: str, labels: Mapping[str, str]) -> None:
    for key, value in labels.items():
        check(isinstance(key, str) and bool(_LABEL_KEY.fullmatch(key)), name, key, "the key of a Kubernetes label")
        fits = isinstance(value, str) and bool(_LABEL_VALUE.fullmatch(value))
        check(fits, f"{name}.{key}", value, "the value of a Kubernetes label, a text")
