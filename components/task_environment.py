"""What a task on a cluster gets from its ConfigMap and its Secrets, and the error where one of them is missing.

They arrive as mounted folders, a file for each key, and become variables of this process alone. In the pod's own
environment they would clash: Kubeflow Pipelines sets proxies and MLflow's variables there itself, Kubernetes refuses a
pod with both a value and a reference of one name, and the launcher in the same container would reach the API of
Kubernetes by VIGIL's proxy and write its artifacts with VIGIL's keys. A pod that needs a missing ConfigMap waits for
ever, so the package asks for them as optional and names them in variables of their own, by which the task itself finds
out.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from components.errors import InputError

CONFIG_MAP, CA_CONFIG_MAP = "VIGIL_CONFIG_MAP", "VIGIL_CA_CONFIG_MAP"
S3_SECRET, MLFLOW_SECRET = "VIGIL_S3_SECRET", "VIGIL_MLFLOW_SECRET"
"""Variables with the names of what a task was to get; missing outside of a cluster."""
CONFIG_MAP_FOLDER, S3_FOLDER, MLFLOW_FOLDER = "/etc/vigil/environment", "/etc/vigil/s3", "/etc/vigil/mlflow"
"""Where the ConfigMap, the object store's Secret and the tracking server's are mounted."""
CA_FOLDER = "/etc/vigil/ca"
"""Where the private CA is mounted."""
S3_CREDENTIALS_DIR, S3_REGION = "S3_CREDENTIALS_DIR", "S3_REGION"
"""Variables of the object store: the folder with its keys, and its region."""

ADDRESSES = (
    "S3_ENDPOINT",
    "S3_ADDRESSING",
    "AWS_REGION",
    "MLFLOW_TRACKING_URI",
    "VIGIL_KFP_UI",
    "VIGIL_WEIGHTS_MIRROR",
    "VIGIL_WEIGHTS_MANIFEST",
    "VIGIL_CHECKPOINTS",
)
"""Keys of the ConfigMap that say where services are: at least one must be there."""
NETWORK = (
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
    "SSL_CERT_FILE",
    "S3_CA_FILE",
    "HF_ENDPOINT",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "VIGIL_NET_ATTEMPTS",
    "VIGIL_NET_TIMEOUT",
    "VIGIL_NET_DEADLINE",
    "VIGIL_MLFLOW_WAIT",
)
"""Keys of the ConfigMap that say how they are reached."""
CONFIG_MAP_KEYS = (*ADDRESSES, *NETWORK)
"""Keys of the ConfigMap that reach a task."""
MLFLOW_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
# The region of VIGIL's store; the one in AWS_REGION may be of the node, where roles for service accounts set it.
_VARIABLES = {"AWS_REGION": S3_REGION}
_TRACKING_URI = "MLFLOW_TRACKING_URI"


def apply_task_environment() -> None:
    """Set this process's variables as the mounted ConfigMap and Secrets say, but for those that are set already.

    The tracking server's user or token is left out where somebody else has set another server's address.
    """
    addresses = _mounted(CONFIG_MAP, CONFIG_MAP_FOLDER, CONFIG_MAP_KEYS)
    _set_missing({_VARIABLES.get(name, name): value for name, value in addresses.items()})
    if os.environ.get(_TRACKING_URI) == addresses.get(_TRACKING_URI, os.environ.get(_TRACKING_URI)):
        _set_missing(_mounted(MLFLOW_SECRET, MLFLOW_FOLDER, MLFLOW_KEYS))
    if os.environ.get(S3_SECRET):
        _set_missing({S3_CREDENTIALS_DIR: S3_FOLDER})


def check_task_environment() -> None:
    """Raise `InputError` where a ConfigMap, or the tracking server's Secret, was asked for and has not arrived."""
    for kind, variable, folder, keys, setting in (
        ("ConfigMap", CONFIG_MAP, CONFIG_MAP_FOLDER, ADDRESSES, "cluster.config_map"),
        ("Secret", MLFLOW_SECRET, MLFLOW_FOLDER, MLFLOW_KEYS, "cluster.mlflow_secret"),
    ):
        if os.environ.get(variable) and not _mounted(variable, folder, keys):
            raise missing(kind, os.environ[variable], f"some of {', '.join(keys)}", setting)
    name, mounted = os.environ.get(CA_CONFIG_MAP), Path(CA_FOLDER)
    # Names that start with two dots are Kubernetes' own, and are there without any key.
    if name and not (mounted.is_dir() and any(not path.name.startswith("..") for path in mounted.iterdir())):
        raise missing("ConfigMap", name, "certificates", "cluster.ca_config_map")


def missing(kind: str, name: str, content: str, setting: str) -> InputError:
    """The error of a ConfigMap or a Secret that is not there, or holds nothing of what is expected."""
    expected = f"one with {content}; {setting} of the line names it, and is empty for none"
    return InputError(f"{kind} {name}: not in the namespace of the run, or without content, expected {expected}")


def _mounted(variable: str, folder: str, keys: Collection[str]) -> dict[str, str]:
    """Values of the known keys in a mounted folder; none where the task was to get nothing."""
    if not os.environ.get(variable):
        return {}
    files = {key: Path(folder) / key for key in keys}
    return {key: file.read_text(encoding="utf-8").strip() for key, file in files.items() if file.is_file()}


def _set_missing(values: Mapping[str, str]) -> None:
    """Set the variables that are set in neither case: proxies have names in both."""
    for name, value in values.items():
        if name not in os.environ and name.lower() not in os.environ:
            os.environ[name] = value
