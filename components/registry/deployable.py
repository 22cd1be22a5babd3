"""Where the object store keeps the detector of a version, for servers that fetch it without MLflow."""

from dataclasses import dataclass

from components.errors import InputError, check
from components.tracking.client import tracking_client

_PROXIED = "mlflow-artifacts:"


@dataclass(frozen=True, kw_only=True)
class Deployable:
    """A version that can be served without torch."""

    line: str
    version: str
    uri: str
    """Folder of the detector artifact, `s3://BUCKET/PREFIX` or as MLflow's artifact store has it."""


def find_deployable(line: str, alias: str, store: str = "") -> Deployable:
    """The version of a line that has an alias, or that number, at the environment's MLflow; nothing is changed.

    `store` is the artifact store behind a server that passes artifacts on, such as `s3://mlflow`. Raises `InputError`
    where there is no such version, it holds no export that agrees with its checkpoint, or the store is needed.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import get_model_info

    client = tracking_client()
    try:
        found = (
            client.get_model_version(line, alias)
            if alias.isdecimal()
            else client.get_model_version_by_alias(line, alias)
        )
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        raise InputError(f"alias: line {line!r} has no {alias} in MLflow") from None
    version = str(found.version)
    info = get_model_info(f"models:/{line}/{version}")
    runtime = (info.metadata or {}).get("runtime", "")
    expected = "one registered with registration.export: onnx, whose export agrees with its checkpoint"
    check(runtime in ("onnx", "openvino"), "version", f"{line} {version}, which runs by {runtime or 'torch'}", expected)
    path = info.flavors["python_function"]["artifacts"]["detector"]["path"]
    root = client.get_model_version_download_uri(line, version).rstrip("/")
    if root.startswith(_PROXIED):
        expected = f"the store behind the tracking server, such as s3://mlflow, as it names the artifacts {_PROXIED}"
        check(bool(store), "artifacts", store, expected)
        root = f"{store.rstrip('/')}/{root.removeprefix(_PROXIED).lstrip('/')}"
    return Deployable(line=line, version=version, uri=f"{root}/{path}")
