"""Tests of the task settings: their checks, and what they become in the package's platform spec."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import InputError
from pipelines.dags.package import write_package, write_packages
from pipelines.lines.cluster import Cluster, Resources, parse_cluster
from pipelines.lines.line import load_line, load_lines

LINE = """
name: transistor_A.
object: transistor
dataset: {uri: s3://lines/transistor}
cluster:
  task: {cpu: 2, memory: 8Gi}
  vqgan:
    gpu: 1
    shared_memory: 2Gi
    node_selector: {gpu: a100}
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
  detection: {memory: 12Gi}
  retries: 3
  timeout_seconds: 3600
  image_pull_secrets: [registry]
  ca_config_map: plant-ca
  mlflow_secret: mlflow
  run_as_user: 1234
  labels: {team: vision}
"""


@pytest.fixture(scope="module")
def package_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    (folder / "line.yaml").write_text(LINE, encoding="utf-8")
    write_package(folder / "package.yaml", load_line(folder / "line.yaml"))
    return folder / "package.yaml"


@pytest.fixture(scope="module")
def package(package_file: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(package_file.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def platform(package: list[dict[str, Any]]) -> dict[str, Any]:
    executors: dict[str, Any] = package[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return executors


@pytest.fixture(scope="module")
def resources(package: list[dict[str, Any]]) -> dict[str, Any]:
    executors = package[0]["deploymentSpec"]["executors"]
    return {name: executor["container"].get("resources", {}) for name, executor in executors.items()}


def compiled(folder: Path, cluster: dict[str, Any]) -> list[dict[str, Any]]:
    """The documents of the package of a line with these settings of the cluster."""
    line = {"name": "bolts", "object": "bolt", "dataset": {"uri": "s3://lines/bolts"}, "cluster": cluster}
    (folder / "line.yaml").write_text(yaml.safe_dump(line), encoding="utf-8")
    write_package(folder / "package.yaml", load_line(folder / "line.yaml"))
    return list(yaml.safe_load_all((folder / "package.yaml").read_text(encoding="utf-8")))


def test_every_executor_has_settings(package: list[dict[str, Any]], platform: dict[str, Any]) -> None:
    assert set(platform) == set(package[0]["deploymentSpec"]["executors"])


def test_run_id_comes_from_the_pod_and_not_from_an_input(platform: dict[str, Any]) -> None:
    expected = [{"name": "VIGIL_RUN_ID", "fieldPath": "metadata.labels['pipeline/runid']"}]
    assert all(settings["fieldPathAsEnv"] == expected for settings in platform.values())


def test_every_pod_carries_line_and_stage(platform: dict[str, Any]) -> None:
    labels = {name: settings["podMetadata"]["labels"] for name, settings in platform.items()}
    assert all(found["vigil/line"] == "transistor_A" and found["team"] == "vision" for found in labels.values())
    assert labels["exec-vqgan"]["vigil/stage"] == "vqgan"
    assert labels["exec-detection"]["vigil/stage"] == "detection"


def test_only_the_loop_asks_for_the_accelerator(resources: dict[str, Any], platform: dict[str, Any]) -> None:
    with_gpu = [name for name, found in resources.items() if "accelerator" in found]
    assert with_gpu == ["exec-vqgan"]
    assert resources["exec-vqgan"]["accelerator"]["resourceType"] == "nvidia.com/gpu"
    loop = platform["exec-vqgan"]
    assert loop["nodeSelector"] == {"labels": {"gpu": "a100"}}
    assert loop["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    mount = loop["emptyDirMounts"]
    assert [(m["mountPath"], m["medium"], m["sizeLimit"]) for m in mount] == [("/dev/shm", "Memory", "2Gi")]
    assert "emptyDirMounts" not in platform["exec-detection"]


def test_a_stage_takes_from_the_task_what_it_leaves_out(resources: dict[str, Any]) -> None:
    limits = {name: (found["resourceCpuLimit"], found["resourceMemoryLimit"]) for name, found in resources.items()}
    assert limits["exec-detection"] == ("2", "12Gi")
    assert limits["exec-vqgan"] == ("2", "8Gi")
    assert limits["exec-dataset"] == ("2", "8Gi")


def test_retries_and_timeout(package: list[dict[str, Any]], platform: dict[str, Any]) -> None:
    policy = package[0]["root"]["dag"]["tasks"]["vqgan"]["retryPolicy"]
    assert (policy["maxRetryCount"], policy["backoffDuration"], policy["backoffFactor"]) == (3, "30s", 2.0)
    assert policy["backoffMaxDuration"] == f"{4 * 7 * 86400 + 30 + 60 + 120}s"
    assert {settings["activeDeadlineSeconds"] for settings in platform.values()} == {"3600"}


@pytest.mark.parametrize(
    ("settings", "window"),
    [
        ({}, 3 * 7 * 86400 + 30 + 60),
        ({"timeout_seconds": 0, "backoff_seconds": 0}, 3 * 7 * 86400),
        ({"retries": 1, "timeout_seconds": 1_000_000}, 2 * 1_000_000 + 30),
    ],
)
def test_every_retry_fits_into_the_window_that_argo_counts_from_the_first_attempt(
    tmp_path: Path, settings: dict[str, int], window: int
) -> None:
    task = compiled(tmp_path, settings)[0]["root"]["dag"]["tasks"]["dataset"]
    assert task["retryPolicy"]["backoffMaxDuration"] == f"{window}s"


def test_tasks_know_what_they_are_to_get(package: list[dict[str, Any]], platform: dict[str, Any]) -> None:
    for executor in package[0]["deploymentSpec"]["executors"].values():
        assert {item["name"]: item["value"] for item in executor["container"]["env"]} == {
            "VIGIL_CONFIG_MAP": "vigil-environment",
            "VIGIL_CA_CONFIG_MAP": "plant-ca",
            "VIGIL_S3_SECRET": "vigil-s3",
            "VIGIL_MLFLOW_SECRET": "mlflow",
        }
    for settings in platform.values():
        asked_for = [*settings["secretAsEnv"], *settings["configMapAsEnv"], *settings["configMapAsVolume"]]
        assert [item["optional"] for item in asked_for] == [True] * 4


def test_tasks_without_config_map_and_secrets_miss_none(tmp_path: Path) -> None:
    spec, platform = compiled(tmp_path, {"config_map": "", "s3_secret": ""})
    assert "env" not in spec["deploymentSpec"]["executors"]["exec-dataset"]["container"]
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-dataset"]
    assert not {"secretAsEnv", "configMapAsEnv", "configMapAsVolume", "secretAsVolume"} & set(settings)


def test_secret_of_the_object_store_is_mounted_when_asked_for(tmp_path: Path) -> None:
    spec, platform = compiled(tmp_path, {"s3_secret": "mlpipeline-minio-artifact", "s3_secret_mount": True})
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-dataset"]
    (mount,) = settings["secretAsVolume"]
    assert (mount["secretName"], mount["mountPath"]) == ("mlpipeline-minio-artifact", "/etc/vigil/s3")
    assert "secretAsEnv" not in settings
    env = spec["deploymentSpec"]["executors"]["exec-dataset"]["container"]["env"]
    assert {"name": "S3_CREDENTIALS_DIR", "value": "/etc/vigil/s3"} in env


def test_documented_settings_of_the_network_reach_the_tasks(platform: dict[str, Any]) -> None:
    (config_map,) = platform["exec-dataset"]["configMapAsEnv"]
    keys = {item["configMapKey"]: item["envVar"] for item in config_map["keyToEnv"]}
    assert all(key == name for key, name in keys.items())
    limits = ("VIGIL_NET_ATTEMPTS", "VIGIL_NET_TIMEOUT", "VIGIL_NET_DEADLINE")
    assert {*limits, "HF_ENDPOINT", "S3_CA_FILE", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"} <= set(keys)


def test_secrets_reach_the_environment_by_name_only(platform: dict[str, Any]) -> None:
    for settings in platform.values():
        names = [secret["secretName"] for secret in settings["secretAsEnv"]]
        assert names == ["vigil-s3", "mlflow"]
        assert {key["envVar"] for key in settings["secretAsEnv"][0]["keyToEnv"]} == {
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
            "AWS_SESSION_TOKEN",
        }
        assert settings["imagePullSecret"][0]["secretName"] == "registry"
        assert settings["configMapAsVolume"][0]["mountPath"] == "/etc/vigil/ca"
        assert settings["securityContext"] == {"runAsUser": "1234", "runAsNonRoot": True}


def test_same_line_gives_the_same_bytes(package_file: Path, tmp_path: Path) -> None:
    write_package(tmp_path / "again.yaml", load_line(package_file.with_name("line.yaml")))
    assert (tmp_path / "again.yaml").read_bytes() == package_file.read_bytes()


def test_every_line_has_its_package(tmp_path: Path) -> None:
    for name in ("bolts", "nuts"):
        (tmp_path / f"{name}.yaml").write_text(LINE.replace("transistor_A.", name), encoding="utf-8")
    paths = write_packages(tmp_path / "packages", load_lines(tmp_path))
    assert [path.name for path in paths] == ["bolts.yaml", "nuts.yaml"]
    for path in paths:
        executors = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))[1]["platforms"]["kubernetes"][
            "deploymentSpec"
        ]["executors"]
        assert executors["exec-detection"]["podMetadata"]["labels"]["vigil/line"] == path.stem


def test_packages_are_not_written_into_a_file(tmp_path: Path) -> None:
    (tmp_path / "line.yaml").write_text(LINE, encoding="utf-8")
    with pytest.raises(InputError, match=r"output: got .*expected a folder"):
        write_packages(tmp_path / "line.yaml", load_lines(tmp_path))


def test_line_overrides_the_cluster_defaults_key_by_key() -> None:
    defaults = {"task": {"cpu": "1", "memory": "4Gi"}, "vqgan": {"gpu": 1}, "retries": 5}
    found = parse_cluster({"task": {"cpu": "2"}, "vqgan": {"memory": "16Gi"}}, defaults)
    assert found == Cluster(task=Resources(cpu="2", memory="4Gi"), vqgan=Resources(memory="16Gi", gpu=1), retries=5)
    assert found.resources("vqgan") == Resources(cpu="2", memory="16Gi", gpu=1)
    assert found.resources("detection") == found.resources("task") == Resources(cpu="2", memory="4Gi")


def test_defaults_file_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "line.yaml").write_text(LINE, encoding="utf-8")
    (tmp_path / "cluster.yaml").write_text("retrys: 3", encoding="utf-8")
    with pytest.raises(InputError, match=r"cluster.retrys: unknown key, .*did you mean retries\?"):
        load_line(tmp_path / "line.yaml", tmp_path / "cluster.yaml")


@pytest.mark.parametrize("memory", ["8k", "8Ki", "8M", "8Mi", "8Gi", "1T", "1000000"])
def test_sizes_of_kubernetes_are_taken(memory: str) -> None:
    assert parse_cluster({"task": {"memory": memory}}).task.memory == memory


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"task": {"cpu": "two"}}, "cluster.task.cpu: got 'two', expected cores"),
        ({"task": {"memory": "8 GB"}}, "cluster.task.memory: got '8 GB', expected bytes"),
        ({"task": {"memory": "8K"}}, "cluster.task.memory: got '8K', expected bytes"),
        ({"task": 3}, "cluster.task: got 3 (int), expected keys such as cpu, memory, gpu"),
        ({"vqgan": {"gpu": -1}}, "cluster.vqgan.gpu: got -1"),
        ({"vqgan": {"gpu": "1"}}, "cluster.vqgan.gpu: got '1' (str), expected int"),
        ({"vqgan": {"gpus": 1}}, "cluster.vqgan.gpus: unknown key"),
        ({"vqgan": {"tolerations": [{"effect": "Never"}]}}, "tolerations.effect: got 'Never'"),
        ({"vqgan": {"tolerations": [{"name": "x"}]}}, "tolerations.name: got 'x', expected taints: key, operator"),
        ({"vqgan": {"tolerations": ["x"]}}, "tolerations: got 'x'"),
        ({"vqgan": {"node_selector": {"pool": 1}}}, "node_selector.pool: got 1"),
        ({"retries": -1}, "cluster.retries: got -1"),
        ({"retries": True}, "cluster.retries: got True"),
        ({"timeout_seconds": -1}, "cluster.timeout_seconds: got -1"),
        ({"s3_secret": "Not A Name"}, "cluster.s3_secret: got 'Not A Name'"),
        ({"s3_secret": "", "s3_secret_mount": True}, "cluster.s3_secret_mount: got True, expected false without"),
        ({"s3_secret_mount": "yes"}, "cluster.s3_secret_mount: got 'yes' (str), expected bool"),
        ({"image_pull_secrets": [""]}, "cluster.image_pull_secrets: got '', expected names"),
        ({"image_pull_secrets": "registry"}, "cluster.image_pull_secrets: got 'registry' (str), expected list"),
        ({"labels": {"a b": "c"}}, "cluster.labels.a b: got 'a b'"),
    ],
)
def test_bad_settings_are_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_cluster(content)
    assert message in str(caught.value)
