"""Tests of the pods that a package becomes beside what others set in them: proxies, MLflow's plugin, roles."""

from pathlib import Path
from typing import Any

import pytest

from components.task_environment import CONFIG_MAP_KEYS, MLFLOW_KEYS
from pipelines.dags.package import write_package
from pipelines.lines.line import parse_line
from tests.pipelines.merged_pod import (
    merged,
    mlflow_plugin,
    pod_patch,
    proxies,
    refusals,
    role_of_service_account,
    template,
)
from tests.pipelines.packages import documents

CLUSTER = {
    "vqgan": {"gpu": 1, "shared_memory": "1Gi"},
    "mlflow_secret": "mlflow",
    "ca_config_map": "plant-ca",
    "volumes": [{"claim": "weights", "path": "/mnt/weights"}],
    "cache": "/mnt/weights/cache",
}
PROXIES = proxies("http://proxy:3128", "http://proxy:3128", ".svc,10.0.0.0/8")
PLUGIN = mlflow_plugin("http://mlflow.kubeflow.svc:5000")
Executors = dict[str, tuple[dict[str, Any], dict[str, Any]]]


@pytest.fixture(scope="module")
def executors(tmp_path_factory: pytest.TempPathFactory) -> Executors:
    """Container and platform settings of every task of a line with all that can be mounted."""
    path = tmp_path_factory.mktemp("pods") / "package.yaml"
    line = {"name": "bolts", "object": "bolt", "dataset": {"uri": "s3://lines/bolts"}, "cluster": CLUSTER}
    write_package(path, parse_line(line, Path("/")))
    spec, platform = documents(path)
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {name: (found, settings[name]) for name, found in spec["deploymentSpec"]["executors"].items()}


@pytest.mark.parametrize(
    "injected", [[], PROXIES, PLUGIN, [*PLUGIN, *PROXIES]], ids=["plain", "proxy", "mlflow", "both"]
)
@pytest.mark.parametrize("role", [False, True], ids=["keys", "role"])
def test_pods_are_valid_and_the_launcher_has_nothing_of_ours(
    executors: Executors, injected: list[dict[str, Any]], *, role: bool
) -> None:
    for name, (executor, platform) in executors.items():
        pod = merged(template(), pod_patch(executor, platform, injected))
        pod = role_of_service_account(pod) if role else pod
        assert refusals(pod) == [], name
        environment = {item["name"]: item for item in pod["containers"][0]["env"]}
        given = {item["name"] for item in injected} | {item["name"] for item in template()["containers"][0]["env"]}
        ours = {found for found in environment if found not in given and not (role and found.startswith("AWS_"))}
        assert all(found.startswith("VIGIL_") for found in ours), name
        assert not ours & {*CONFIG_MAP_KEYS, *MLFLOW_KEYS}
        assert "AWS_ACCESS_KEY_ID" not in environment
        assert "AWS_SECRET_ACCESS_KEY" not in environment
        assert [environment[item["name"]] for item in injected] == injected


def test_all_that_a_task_needs_is_mounted(executors: Executors) -> None:
    pod = merged(template(), pod_patch(*executors["exec-vqgan"]))
    volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
    mounted = {item["mountPath"]: volumes[item["name"]] for item in pod["containers"][0]["volumeMounts"]}
    assert mounted["/etc/vigil/environment"] == {"configMap": {"name": "vigil-environment"}}
    assert mounted["/etc/vigil/s3"] == {"secret": {"secretName": "vigil-s3"}}
    assert mounted["/etc/vigil/mlflow"] == {"secret": {"secretName": "mlflow"}}
    assert mounted["/etc/vigil/ca"] == {"configMap": {"name": "plant-ca"}}
    assert mounted["/mnt/weights"] == {"persistentVolumeClaim": {"claimName": "weights"}}
    assert mounted["/tmp"] == mounted["/dev/shm"] == {"emptyDir": {}}


def test_a_config_map_in_the_environment_would_be_refused_beside_the_servers_proxies(executors: Executors) -> None:
    executor, platform = executors["exec-dataset"]
    keys = [{"configMapKey": name, "envVar": name} for name in ("HTTPS_PROXY", "S3_ENDPOINT")]
    before = {**platform, "configMapAsEnv": [{"configMapName": "vigil-environment", "keyToEnv": keys}]}
    assert refusals(merged(template(), pod_patch(executor, before))) == []
    assert refusals(merged(template(), pod_patch(executor, before, PROXIES))) == ["HTTPS_PROXY: value and valueFrom"]


def test_two_volumes_of_one_name_would_be_refused(executors: Executors) -> None:
    executor, platform = executors["exec-dataset"]
    secret = {"secretName": "vigil-environment", "mountPath": "/etc/other"}
    pod = merged(template(), pod_patch(executor, {**platform, "secretAsVolume": [secret]}))
    assert refusals(pod) == ["vigil-environment: several sources"]
