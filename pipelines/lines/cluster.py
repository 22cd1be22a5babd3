"""Section `cluster` of a line: how its tasks run on Kubernetes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from typing_extensions import TypedDict

from components.errors import check
from components.settings import Expected, Settings
from pipelines.lines.stages import with_new_keys

_NAME = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"
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
Name = Annotated[
    str,
    Field(pattern=f"^({_NAME})?$"),
    Expected("the name of a Kubernetes object: lower-case letters, digits, '-' and '.'"),
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


class Resources(Settings):
    """What one task asks of its node; an empty text asks for nothing."""

    section = "cluster.task"
    cpu: Cores = ""
    """Cores, requested and not exceeded, such as `2` or `500m`."""
    memory: Bytes = ""
    """Bytes, requested and not exceeded, such as `8Gi`."""
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
    """How often a failed task is started again."""
    backoff_seconds: Annotated[int, Field(ge=0, le=3600)] = 30
    """Pause before the first retry; it doubles with each."""
    timeout_seconds: Annotated[int, Field(ge=0)] = 21600
    """After which an attempt of a task is ended; 0 for never."""
    config_map: Name = "vigil-environment"
    """ConfigMap with addresses; a task fails where it is missing. Empty for none."""
    s3_secret: Name = "vigil-s3"  # noqa: S105
    """Secret with the keys of the object store; access to the store fails where it is missing. Empty for anonymous."""
    s3_secret_mount: bool = False
    """Whether that Secret is a folder of files and not variables; its keys may be `accesskey` and `secretkey` then."""
    mlflow_secret: Name = ""
    """Secret with the tracking server's user and password, or token; a task fails where it is missing."""
    ca_config_map: Name = ""
    """ConfigMap with the private CA's certificates, mounted into every task; a task fails where it is missing."""
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

    @model_validator(mode="after")
    def _mount_has_a_secret(self) -> Self:
        expected = "false without cluster.s3_secret"
        check(bool(self.s3_secret) or not self.s3_secret_mount, self.key("s3_secret_mount"), True, expected)
        return self

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

    return merged(with_new_keys(defaults or {}, "cluster."), with_new_keys(content, "cluster."), 2)
