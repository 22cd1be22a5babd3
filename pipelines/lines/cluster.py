"""Section `cluster` of a line: how its tasks run on Kubernetes."""

import logging
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from components.errors import check
from components.settings import Expected, Settings
from pipelines.lines.stages import with_new_keys

logger = logging.getLogger(__name__)

_INT32 = 2**31 - 1
CACHE = "VIGIL_CACHE"
"""Variable with the folder of the weights that were fetched."""
_NAME = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
_VOLUME = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_PATH = r"(/[A-Za-z0-9._-]+)+"
# Kubeflow Pipelines, Argo and the package itself have volumes of these names, or mount into these folders.
_TAKEN_NAMES = re.compile(
    r"(kfp-launcher|gcs-scratch|s3-scratch|minio-scratch|dot-(local|cache|config)-scratch|kfp-workspace|ca-bundle"
    r"|var-run-argo|tmp-dir-argo|input-artifacts|podmetadata|shared-memory|vigil-tmp)"
)
_TAKEN_FOLDERS = tuple(
    PurePosixPath("/", name)
    for name in ("tmp", "dev", "proc", "sys", "etc", "opt/vigil", "var/run", "gcs", "s3", "minio", "kfp-launcher")
)
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = rf"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?{_LABEL}"


def _quantity(pattern: str, number: type, expected: str) -> tuple[Any, ...]:
    """What a quantity of Kubernetes is checked by: a text, or a number of YAML, which becomes one."""

    def text(value: object) -> object:
        return str(value) if type(value) in (int, float) else value

    field = Field(pattern=pattern)
    given = BeforeValidator(text, json_schema_input_type=Annotated[str, field] | number)
    return given, field, Expected(expected)


Cores = Annotated[str, *_quantity(r"^(\d+(\.\d+)?|\d+m)?$", float, "cores such as 2 or 500m")]
Bytes = Annotated[str, *_quantity(r"^(\d+([EPTGM]i?|Ki|k)?)?$", int, "bytes such as 8Gi")]
Mountable = Annotated[
    str,
    Field(pattern=f"^({_VOLUME})?$"),
    Expected("a name that can be mounted: at most 63 of lower-case letters, digits and '-', as volumes of pods have"),
]
Labels = Annotated[
    Mapping[Annotated[str, Field(pattern=f"^{_LABEL_KEY}$")], Annotated[str, Field(pattern=f"^({_LABEL})?$")]],
    Expected("keys and values of Kubernetes labels, all texts"),
]


class Toleration(TypedDict, total=False):
    """A taint that a task tolerates."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    key: str
    operator: Literal["Equal", "Exists"]
    value: str
    effect: Literal["NoExecute", "NoSchedule", "PreferNoSchedule"]
    toleration_seconds: Annotated[int, Field(ge=0)]


class Volume(TypedDict):
    """A PersistentVolumeClaim that every task mounts."""

    __pydantic_config__ = ConfigDict(extra="forbid", strict=True)  # type: ignore[misc]
    claim: Annotated[str, Field(pattern=f"^{_VOLUME}$")]
    path: Annotated[str, Field(pattern=f"^{_PATH}$")]


@dataclass(frozen=True)
class Need:
    """Cores and memory of a task: what its node must have free, and what it may not exceed; empty for no word of it."""

    cpu: str
    cpu_limit: str
    memory: str
    memory_limit: str


_FILES = Need("250m", "2", "512Mi", "2Gi")
_NETWORKS = Need("1", "4", "2Gi", "8Gi")
_LOOP = Need("2", "8", "4Gi", "16Gi")
_NEEDS = {
    "fingerprint": _FILES,
    "dataset": _FILES,
    "image_folder": _FILES,
    "gather_cells": _FILES,
    "merge_results": _FILES,
    "vqgan": _LOOP,
    "vqgan_clip": _LOOP,
    "pretraining": _LOOP,
}


class Resources(Settings):
    """What one task asks of its node."""

    section = "cluster.task"
    cpu: Cores = ""
    """Cores, requested and not exceeded, such as `2` or `500m`; empty for the stage's default, 0 to ask for nothing."""
    memory: Bytes = ""
    """Bytes, requested and not exceeded, such as `8Gi`; empty for the stage's default, 0 to ask for nothing."""
    gpu: Annotated[int, Field(ge=0, le=64)] = 0
    """Number of accelerators."""
    accelerator: Annotated[str, Field(pattern=f"^{_LABEL_KEY}$"), Expected("a resource such as nvidia.com/gpu")] = (
        "nvidia.com/gpu"
    )
    """Resource name of the accelerators."""
    shared_memory: Bytes = ""
    """Size of /dev/shm, for data loaders, such as `2Gi`; counts as memory."""
    node_selector: Labels = Field(default_factory=dict)
    """Labels that the node must have."""
    tolerations: Annotated[
        tuple[Toleration, ...],
        Field(strict=False),
        Expected(
            "taints: key, operator (Equal, Exists), value, effect (NoExecute, NoSchedule, PreferNoSchedule) and "
            "toleration_seconds"
        ),
    ] = ()
    """Taints that are tolerated."""


class Cluster(Settings):
    """How the tasks of a line run on Kubernetes. It changes no result, and no cache key."""

    section = "cluster"
    task: Resources = Resources()
    """Of every task."""
    vqgan: Resources = Resources()
    """Of the fine-tuning loop; what it leaves out is taken from `task`."""
    detection: Resources = Resources()
    """Of the training of a detector; what it leaves out is taken from `task`."""
    retries: Annotated[int, Field(ge=0, le=10)] = 2
    """How often a failed task is started again; for what failures, the cluster's administrator decides."""
    backoff_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """Pause before the first retry; it doubles with each."""
    timeout_seconds: Annotated[int, Field(ge=0)] = 21600
    """After which an attempt of a task is ended; 0 for never."""
    run_timeout_seconds: Annotated[int, Field(ge=0, le=_INT32)] = 259200
    """After which a whole run is ended, waiting for nodes included; 0 for never. Servers before 2.17 have none."""
    ttl_seconds: Annotated[int, Field(ge=0, le=_INT32)] = 0
    """How long the pods of a run that ended are kept; 0 leaves it to the cluster. From servers of 2.17 on."""
    parallelism: Annotated[int, Field(ge=0, le=1000)] = 4
    """How many detectors of a run train at once; 0 for all."""
    config_map: Mountable = "vigil-environment"
    """ConfigMap with addresses; a task fails where it is missing. Empty for none."""
    s3_secret: Mountable = "vigil-s3"  # noqa: S105
    """Secret with the keys of the object store, also as `accesskey` and `secretkey`, which Kubeflow's own has; access
    to the store fails where it is missing. Empty for anonymous."""
    mlflow_secret: Mountable = ""
    """Secret with the tracking server's user and password, or token; a task fails where it is missing."""
    ca_config_map: Mountable = ""
    """ConfigMap with the private CA's certificates, mounted into every task; a task fails where it is missing."""
    volumes: Annotated[
        tuple[Volume, ...],
        Field(strict=False),
        Expected("volumes: claim, the name of a PersistentVolumeClaim, and path, an absolute folder such as /data"),
    ] = ()
    """PersistentVolumeClaims that every task mounts, for data or weights that are no objects of a store."""
    cache: Annotated[str, Field(pattern=f"^({_PATH})?$"), Expected("a folder of one of cluster.volumes")] = ""
    """Folder of one of the volumes that keeps fetched weights for later runs; empty for none."""
    image_pull_secrets: Annotated[
        tuple[Annotated[str, Field(pattern=f"^{_NAME}$")], ...],
        Field(strict=False),
        Expected("names of Secrets of Kubernetes"),
    ] = ()
    """Secrets of the image registry."""
    run_as_user: Annotated[int, Field(ge=0)] = 0
    """User id of the tasks; 0 leaves the image's own, which is not root."""
    labels: Labels = Field(default_factory=dict)
    """Further labels of every pod."""
    webhook_secret: Annotated[
        str,
        Field(pattern=r"^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)?$"),
        Expected("a Secret that can be mounted: at most 63 of lower-case letters, digits and '-'"),
    ] = ""
    """Secret with the address of a webhook, key `url`, that hears of every finished run; empty for none."""

    @model_validator(mode="after")
    def _volumes_can_be_mounted(self) -> Self:
        """Check that volumes, named as what they hold, and their folders differ from one another and from others'."""
        keys = ("config_map", "s3_secret", "mlflow_secret", "ca_config_map", "webhook_secret")
        named = [(key, name) for key in keys if (name := getattr(self, key))]
        named += [("volumes.claim", volume["claim"]) for volume in self.volumes]
        times = Counter(name for _, name in named)
        for key, name in named:
            expected = "another name than the other ConfigMaps, Secrets and claims, as a volume of the pod has it"
            check(times[name] == 1, self.key(key), name, expected)
            free = _TAKEN_NAMES.fullmatch(name) is None
            check(free, self.key(key), name, "another name, as Kubeflow Pipelines' pods have a volume of this one")
        paths = [PurePosixPath(volume["path"]) for volume in self.volumes]
        for path in paths:
            inside = [other for other in (*paths, *_TAKEN_FOLDERS) if path.is_relative_to(other)]
            expected = f"a folder outside of the other volumes and of {', '.join(map(str, _TAKEN_FOLDERS))}"
            check(inside == [path] and ".." not in path.parts, self.key("volumes.path"), str(path), expected)
        check(not self.cache or self.mounts(self.cache), self.key("cache"), self.cache, "a folder of cluster.volumes")
        return self

    def mounts(self, path: str) -> bool:
        """Whether a path is inside one of the volumes."""
        found = PurePosixPath(path)
        return ".." not in found.parts and any(found.is_relative_to(volume["path"]) for volume in self.volumes)

    def resources(self, key: Literal["task", "vqgan", "detection"]) -> Resources:
        """What a task asks of its node: its own settings, and those of `task` where it gives none."""
        own: Resources = getattr(self, key)
        return self.task.replace(**{name: getattr(own, name) for name in own.model_fields_set})

    @classmethod
    def _messages(cls, found: Mapping[str, Any]) -> list[str]:
        messages = super()._messages(found)
        if not found["loc"]:
            return messages
        return [message.replace(f"{Resources.section}.", f"{cls.section}.{found['loc'][0]}.") for message in messages]


def parse_cluster(content: Any, defaults: Any = None) -> Cluster:
    """The section `cluster` of a line over that of a whole cluster; `InputError` names all wrong keys and values."""
    return Cluster(**cluster_values(content, defaults))


def cluster_values(content: Any, defaults: Any = None) -> Any:
    """The section of a line over that of a whole cluster, key by key; also the resources of each task."""

    def merged(base: Any, own: Any, depth: int) -> Any:
        if depth == 0 or not isinstance(base, Mapping) or not isinstance(own, Mapping):
            return own
        return {**base, **{str(key): merged(base.get(key), value, depth - 1) for key, value in own.items()}}

    return merged(_of_today(defaults or {}), _of_today(content), 2)


def need(stage: str, resources: Resources) -> Need:
    """What a stage's task asks for: what its line gives, or the default of the stage, measured on the demo.

    Peak memory there was 0.1 GB for the data set, 0.8 to 1.4 GB for stages with networks and 1.7 GB for the loop;
    the default requests are above it, and the limits are four times the requests.
    """
    default = _NEEDS.get(stage, _NETWORKS)
    cpu = (resources.cpu, resources.cpu) if resources.cpu else (default.cpu, default.cpu_limit)
    memory = (resources.memory, resources.memory) if resources.memory else (default.memory, default.memory_limit)
    nothing = ("", "")
    return Need(*(nothing if cpu[0] == "0" else cpu), *(nothing if memory[0] == "0" else memory))


def _of_today(content: Any) -> Any:
    """The section without what it no longer has."""
    found = with_new_keys(content, "cluster.")
    if isinstance(found, dict) and "s3_secret_mount" in found:
        del found["s3_secret_mount"]
        logger.warning("cluster.s3_secret_mount: no longer a setting; the Secret is always mounted")
    return found
