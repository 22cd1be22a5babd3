"""Findings about the installation of Kubeflow and the objects of the namespace, read from the API of Kubernetes."""

import base64
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from textwrap import indent
from typing import Any
from urllib.parse import urlsplit

from components import task_environment
from pipelines.cluster.kubernetes import Item, Kubernetes
from pipelines.cluster.transport import ClusterError
from pipelines.cluster.workflow_controller import RETRY_DEFAULTS, retry_policy
from pipelines.doctor.findings import FAILED, OK, UNKNOWN, WARNING, Finding, Variables
from pipelines.lines.cluster import Cluster

CONTROLLER = "workflow-controller-configmap"
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY")
_S3_FILES = (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("accesskey", "secretkey"))


def retries(kubernetes: Kubernetes, namespace: str) -> Finding:
    """Whether Argo starts a failed task again, whatever it failed of; `namespace` is that of Kubeflow Pipelines."""
    found = kubernetes.get(f"/api/v1/namespaces/{namespace}/configmaps/{CONTROLLER}")
    if found is None:
        missing = f"no {CONTROLLER} in {namespace}"
        return Finding(check="retries", state=UNKNOWN, found=missing, mend="give --kfp-namespace")
    if wrong := retry_policy(found.get("data") or {}):
        mend = f"in the data of {namespace}/{CONTROLLER}:\n{indent(RETRY_DEFAULTS.rstrip(), '    ')}"
        return Finding(check="retries", state=WARNING, found=wrong, mend=mend)
    return Finding(check="retries", state=OK, found="tasks are started again after every kind of failure")


def proxies(kubernetes: Kubernetes, kfp_namespace: str, variables: Variables) -> Iterator[Finding]:
    """Whether tasks reach what is inside of the cluster without a proxy; `variables` are the ConfigMap's."""
    deployment = kubernetes.get(f"/apis/apps/v1/namespaces/{kfp_namespace}/deployments/ml-pipeline") or {}
    own = {
        item["name"]: item.get("value", "")
        for container in _pod_spec(deployment).get("containers", [])
        for item in container.get("env") or []
    }
    service = kubernetes.get("/api/v1/namespaces/default/services/kubernetes") or {}
    address = str(service.get("spec", {}).get("clusterIP", ""))
    if any(own.get(name) for name in _PROXIES) and address and not _bypassed(address, own.get("NO_PROXY", "")):
        yield Finding(
            check="proxies",
            state=FAILED,
            found=f"Kubeflow gives its tasks a proxy, and its launcher would reach the API server {address} through it",
            mend=f"add {address} to NO_PROXY of deployment {kfp_namespace}/ml-pipeline",
        )
    inside = [
        (key, host)
        for key in ("MLFLOW_TRACKING_URI", "S3_ENDPOINT")
        if (host := urlsplit(variables.get(key, "")).hostname) and is_internal(host)
    ]
    through = [host for _, host in inside if not _bypassed(host, variables.get("NO_PROXY", ""))]
    if any(variables.get(name) for name in _PROXIES) and through:
        yield Finding(
            check="proxies",
            state=FAILED,
            found=f"tasks would reach {', '.join(through)} through the proxy",
            mend="add .svc,.cluster.local to NO_PROXY of the ConfigMap (the chart's network.NO_PROXY)",
        )


def sidecars(kubernetes: Kubernetes, namespace: str) -> Finding:
    """Whether MLflow of the namespace hears pods without a mesh's sidecar, as the tasks of Kubeflow Pipelines are."""
    labels = (kubernetes.get(f"/api/v1/namespaces/{namespace}") or {}).get("metadata", {}).get("labels") or {}
    meshed = labels.get("istio-injection") == "enabled" or "istio.io/rev" in labels
    pods = kubernetes.list(
        f"/api/v1/namespaces/{namespace}/pods",
        labelSelector="app.kubernetes.io/name=vigil,app.kubernetes.io/component=mlflow",
    )
    proxied = [pod["metadata"]["name"] for pod in pods if "istio-proxy" in _container_names(pod)]
    if proxied:
        return Finding(
            check="sidecars",
            state=FAILED,
            found=f"{', '.join(proxied)} has a sidecar, which refuses the tasks, as they have none",
            mend='helm upgrade with mlflow.podLabels: {sidecar.istio.io/inject: "false"}',
        )
    where = "a mesh injects sidecars here, but not into MLflow" if meshed else "no mesh injects sidecars here"
    return Finding(check="sidecars", state=OK, found=where)


def objects(kubernetes: Kubernetes, namespace: str, cluster: Cluster) -> Iterator[Finding]:
    """Whether the ConfigMaps and Secrets that tasks mount are in the namespace, with the keys that they need."""
    wanted = [
        ("configmaps", cluster.config_map, "config_map", [(name,) for name in task_environment.ADDRESSES]),
        ("configmaps", cluster.ca_config_map, "ca_config_map", []),
        ("secrets", cluster.s3_secret, "s3_secret", _S3_FILES),
        ("secrets", cluster.mlflow_secret, "mlflow_secret", [(name,) for name in task_environment.MLFLOW_KEYS]),
        ("secrets", cluster.webhook_secret, "webhook_secret", [("url",)]),
        *(("secrets", name, "image_pull_secrets", [(".dockerconfigjson",)]) for name in cluster.image_pull_secrets),
    ]
    for kind, name, setting, choices in wanted:
        if name:
            yield _object(kubernetes, namespace, kind, name, setting, [tuple(keys) for keys in choices])


def variables_of(kubernetes: Kubernetes, namespace: str, cluster: Cluster) -> dict[str, str]:
    """What tasks get of the ConfigMap that the settings name, and of its Secrets, where those may be read."""
    found: dict[str, str] = {}
    if cluster.config_map:
        item = kubernetes.get(f"/api/v1/namespaces/{namespace}/configmaps/{cluster.config_map}") or {}
        found |= item.get("data") or {}
    for name in filter(None, (cluster.s3_secret, cluster.mlflow_secret)):
        secret: Item = {}
        with suppress(ClusterError):
            secret = kubernetes.get(f"/api/v1/namespaces/{namespace}/secrets/{name}") or {}
        found |= {key: base64.b64decode(text).decode() for key, text in (secret.get("data") or {}).items()}
    for key, file in zip(*_S3_FILES, strict=True):
        if file in found:
            found.setdefault(key, found.pop(file))
    return found


def is_internal(host: str) -> bool:
    """Whether only pods of the cluster know a host name."""
    return "." not in host or host.endswith((".svc", ".cluster.local")) or ".svc." in host


def _object(
    kubernetes: Kubernetes, namespace: str, kind: str, name: str, setting: str, choices: list[tuple[str, ...]]
) -> Finding:
    shown = f"{kind.removesuffix('s')} {namespace}/{name}"
    item = kubernetes.get(f"/api/v1/namespaces/{namespace}/{kind}/{name}")
    mend = f"create it there, or name another one in cluster.{setting}; empty for none"
    if item is None:
        return Finding(check="objects", state=FAILED, found=f"{shown} does not exist", mend=mend)
    keys = set(item.get("data") or {})
    if not keys or (choices and not any(keys >= set(choice) for choice in choices)):
        expected = " or ".join(", ".join(choice) for choice in choices) or "certificates"
        return Finding(check="objects", state=FAILED, found=f"{shown} has no {expected}", mend=mend)
    return Finding(check="objects", state=OK, found=f"{shown} has {len(keys)} keys")


def _pod_spec(item: Item) -> Mapping[str, Any]:
    found: Mapping[str, Any] = item.get("spec", {}).get("template", {}).get("spec", {})
    return found


def _container_names(pod: Item) -> set[str]:
    spec = pod.get("spec", {})
    return {container["name"] for key in ("containers", "initContainers") for container in spec.get(key) or []}


def _bypassed(host: str, no_proxy: str) -> bool:
    return bool(urllib.request.proxy_bypass_environment(host, {"no": no_proxy}))  # type: ignore[attr-defined]
