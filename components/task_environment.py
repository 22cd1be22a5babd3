"""What a task on a cluster gets from its ConfigMap and its Secrets, and the error where one of them is missing.

A pod that needs a missing ConfigMap waits for ever, and the run says nothing. So the package asks for them as optional
and names them in variables of their own, by which the task itself finds out.
"""

import os
from pathlib import Path

from components.errors import InputError

CONFIG_MAP, CA_CONFIG_MAP = "VIGIL_CONFIG_MAP", "VIGIL_CA_CONFIG_MAP"
S3_SECRET, MLFLOW_SECRET = "VIGIL_S3_SECRET", "VIGIL_MLFLOW_SECRET"
"""Variables with the names of what a task was to get; missing outside of a cluster."""
CA_FOLDER = "/etc/vigil/ca"
"""Where the private CA is mounted."""

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
S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
MLFLOW_KEYS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")


def check_task_environment() -> None:
    """Raise `InputError` where a ConfigMap, or the tracking server's Secret, was asked for and has not arrived."""
    for kind, variable, keys, setting in (
        ("ConfigMap", CONFIG_MAP, ADDRESSES, "cluster.config_map"),
        ("Secret", MLFLOW_SECRET, MLFLOW_KEYS, "cluster.mlflow_secret"),
    ):
        name = os.environ.get(variable)
        if name and not any(key in os.environ for key in keys):
            raise missing(kind, name, f"some of {', '.join(keys)}", setting)
    name, mounted = os.environ.get(CA_CONFIG_MAP), Path(CA_FOLDER)
    # Names that start with two dots are Kubernetes' own, and are there without any key.
    if name and not (mounted.is_dir() and any(not path.name.startswith("..") for path in mounted.iterdir())):
        raise missing("ConfigMap", name, "certificates", "cluster.ca_config_map")


def missing(kind: str, name: str, content: str, setting: str) -> InputError:
    """The error of a ConfigMap or a Secret that is not there, or holds nothing of what is expected."""
    expected = f"one with {content}; {setting} of the line names it, and is empty for none"
    return InputError(f"{kind} {name}: not in the namespace of the run, or without content, expected {expected}")
