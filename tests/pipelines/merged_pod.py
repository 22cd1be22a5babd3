"""The pod that Kubeflow Pipelines and Argo make of a task, restated from their sources.

The driver writes a patch of the pod's specification (kubeflow/pipelines 2.17.0, backend/src/v2/driver: driver.go
`initPodSpecPatch`, k8s.go `extendPodSpecPatch`). Argo applies it to the template that the API server compiled
(v2/compiler/argocompiler/container.go; argo-workflows 4.0.5, workflow/util/util.go `ApplyPodSpecPatch`) by Kubernetes'
strategic merge: lists of named things are merged by their key, and two entries of one key become one map (apimachinery,
pkg/util/strategicpatch/patch.go `mergeSliceWithoutSpecialElements`).
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

Item = dict[str, Any]
KEYS = {"env": "name", "volumes": "name", "volumeMounts": "mountPath", "containers": "name"}
"""`patchMergeKey` of the lists, from k8s.io/api/core/v1/types.go."""
SCRATCH = ("kfp-launcher", "gcs-scratch", "s3-scratch", "minio-scratch", "dot-local-scratch", "dot-cache-scratch")


def proxies(http: str, https: str, no_proxy: str) -> list[Item]:
    """What a server with proxies sets in every pod, in both cases: apiserver/config/proxy/config.go `GetEnvVars`."""
    named = (("http_proxy", http), ("https_proxy", https), ("no_proxy", no_proxy))
    return [{"name": spelt, "value": value} for name, value in named for spelt in (name, name.upper())]


def mlflow_plugin(uri: str) -> list[Item]:
    """What the MLflow plugin sets with `injectUserEnvVars`: v2/common/plugins/mlflow/handler.go."""
    token = {"secretKeyRef": {"name": "kfp-mlflow-credentials", "key": "token"}}
    return [
        {"name": "MLFLOW_RUN_ID", "value": "0123456789abcdef"},
        {"name": "MLFLOW_TRACKING_URI", "value": uri},
        {"name": "MLFLOW_EXPERIMENT_ID", "value": "1"},
        {"name": "MLFLOW_TRACKING_TOKEN", "valueFrom": token},
    ]


def role_of_service_account(pod: Item) -> Item:
    """The pod behind the webhook that gives roles to service accounts: it leaves out names that are there."""
    changed = deepcopy(pod)
    for container in changed["containers"]:
        present = {item["name"] for item in container["env"]}
        for name, value in (
            ("AWS_REGION", "eu-west-1"),
            ("AWS_DEFAULT_REGION", "eu-west-1"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/pipelines"),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"),
        ):
            if name not in present:
                container["env"].append({"name": name, "value": value})
    return changed


def template() -> Item:
    """The executor's template: its own variables and scratch volumes."""
    names = ("KFP_POD_NAME", "metadata.name"), ("KFP_POD_UID", "metadata.uid")
    env = [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in names]
    mounts = [{"name": name, "mountPath": f"/{name.removesuffix('-scratch')}"} for name in SCRATCH]
    main = {"name": "main", "env": [*env, {"name": "KFP_RETRY_INDEX", "value": "0"}], "volumeMounts": mounts}
    return {"containers": [main], "volumes": [{"name": name, "emptyDir": {}} for name in SCRATCH]}


def pod_patch(executor: Mapping[str, Any], platform: Mapping[str, Any], injected: Iterable[Item] = ()) -> Item:
    """The driver's patch: the task's variables, those of plugins and proxies, then references, in its order."""
    env = [*executor["container"].get("env", ()), *injected]
    volumes, mounts = list[Item](), list[Item]()

    def mount(name: str, path: str, source: Item) -> None:
        volumes.append({"name": name, **source})
        mounts.append({"name": name, "mountPath": path})

    for item in platform.get("pvcMount", ()):
        mount(item["constant"], item["mountPath"], {"persistentVolumeClaim": {"claimName": item["constant"]}})
    for item in platform.get("secretAsVolume", ()):
        mount(item["secretName"], item["mountPath"], {"secret": {"secretName": item["secretName"]}})
    for item in platform.get("secretAsEnv", ()):
        env += [
            reference("secretKeyRef", key["envVar"], item["secretName"], key["secretKey"]) for key in item["keyToEnv"]
        ]
    for item in platform.get("configMapAsVolume", ()):
        mount(item["configMapName"], item["mountPath"], {"configMap": {"name": item["configMapName"]}})
    for item in platform.get("configMapAsEnv", ()):
        name = item["configMapName"]
        env += [reference("configMapKeyRef", key["envVar"], name, key["configMapKey"]) for key in item["keyToEnv"]]
    for item in platform.get("fieldPathAsEnv", ()):
        env.append({"name": item["name"], "valueFrom": {"fieldRef": {"fieldPath": item["fieldPath"]}}})
    for item in platform.get("emptyDirMounts", ()):
        mount(item["volumeName"], item["mountPath"], {"emptyDir": {}})
    return {"containers": [{"name": "main", "env": env, "volumeMounts": mounts}], "volumes": volumes}


def reference(kind: str, variable: str, name: str, key: str) -> Item:
    return {"name": variable, "valueFrom": {kind: {"name": name, "key": key}}}


def merged(original: Any, patch: Any, key: str = "") -> Any:
    """Strategic merge of a patch into what it patches."""
    if isinstance(patch, dict) and isinstance(original, dict):
        names = {**original, **patch}
        return {name: merged(original.get(name), patch.get(name, original.get(name)), name) for name in names}
    if isinstance(patch, list) and key in KEYS:
        found = list(original or ())
        for item in patch:
            same = [index for index, other in enumerate(found) if other[KEYS[key]] == item[KEYS[key]]]
            if same:
                found[same[0]] = merged(found[same[0]], item)
            else:
                found.append(item)
        return found
    return patch


def refusals(pod: Item) -> list[str]:
    """What the API server of Kubernetes refuses in a pod: core/validation's ValidateEnv and ValidateVolumes."""
    (main,) = pod["containers"]
    found = [f"{item['name']}: value and valueFrom" for item in main["env"] if {"value", "valueFrom"} <= item.keys()]
    found += repeated([item["name"] for item in main["env"]], "variable")
    found += [f"{volume['name']}: several sources" for volume in pod["volumes"] if len(volume) != 2]
    found += repeated([item["mountPath"] for item in main["volumeMounts"]], "folder")
    names = {volume["name"] for volume in pod["volumes"]}
    return found + [f"{item['name']}: no such volume" for item in main["volumeMounts"] if item["name"] not in names]


def repeated(names: Sequence[str], what: str) -> list[str]:
    return [f"{what} {name} twice" for name in sorted(set(names)) if names.count(name) > 1]
