"""Tests of the task settings: their checks, and what they become in the package's platform spec."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.errors import InputError
from pipelines.dags.package import write_package, write_packages
from pipelines.lines.cluster import Cluster, Resources, parse_cluster
from pipelines.lines.line import load_line, load_lines
from tests.pipelines.packages import documents

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
    return documents(package_file)


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
    return documents(folder / "package.yaml")


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
    assert [(m["mountPath"], m["medium"], m["sizeLimit"]) for m in mount if "medium" in m] == [
        ("/dev/shm", "Memory", "2Gi")
    ]
    assert [m["mountPath"] for m in platform["exec-detection"]["emptyDirMounts"]] == ["/tmp"]


def test_tasks_ask_for_what_was_measured_where_the_line_gives_nothing(tmp_path: Path) -> None:
    spec, _ = compiled(tmp_path, {"detection": {"cpu": "3"}, "vqgan": {"memory": 0, "cpu": 0}})
    executors = spec["deploymentSpec"]["executors"]

    def asked(name: str) -> list[str]:
        found = executors[f"exec-{name}"]["container"].get("resources", {})
        keys = [f"resource{what}{kind}" for what in ("Cpu", "Memory") for kind in ("Request", "Limit")]
        return [found.get(key, "") for key in keys]

    assert asked("dataset") == ["250m", "2", "512Mi", "2Gi"]
    assert asked("detection") == ["3", "3", "2Gi", "8Gi"]
    assert asked("vqgan") == ["", "", "", ""]
    assert asked("conclusion") == ["1", "4", "2Gi", "8Gi"]


def test_run_has_a_deadline_and_trains_few_detectors_at_once(tmp_path: Path) -> None:
    spec, platform = compiled(tmp_path, {"ttl_seconds": 3600})
    config = {"activeDeadlineSeconds": 259200, "resourceTtlOnCompletion": 3600}
    assert platform["platforms"]["kubernetes"]["pipelineConfig"] == config
    assert spec["root"]["dag"]["tasks"]["for-loop-1"]["iteratorPolicy"] == {"parallelismLimit": 4}
    spec, platform = compiled(tmp_path, {"run_timeout_seconds": 0, "parallelism": 0})
    assert "pipelineConfig" not in platform["platforms"]["kubernetes"]
    assert "iteratorPolicy" not in spec["root"]["dag"]["tasks"]["for-loop-1"]


def test_volumes_are_mounted_into_every_task(tmp_path: Path) -> None:
    volumes = [{"claim": "weights", "path": "/mnt/weights"}, {"claim": "images", "path": "/mnt/images"}]
    spec, platform = compiled(tmp_path, {"volumes": volumes, "cache": "/mnt/weights/cache"})
    for settings in platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        mounts = [{"claim": mount["constant"], "path": mount["mountPath"]} for mount in settings["pvcMount"]]
        assert mounts == volumes
    for executor in spec["deploymentSpec"]["executors"].values():
        assert {"name": "VIGIL_CACHE", "value": "/mnt/weights/cache"} in executor["container"]["env"]


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
        given = {item["name"]: item["value"] for item in executor["container"]["env"]}
        assert given.pop("VIGIL_GPUS", "0") == executor["container"]["resources"].get("accelerator", {}).get(
            "resourceCount", "0"
        )
        assert given == {
            "VIGIL_CONFIG_MAP": "vigil-environment",
            "VIGIL_CA_CONFIG_MAP": "plant-ca",
            "VIGIL_S3_SECRET": "vigil-s3",
            "VIGIL_MLFLOW_SECRET": "mlflow",
        }
    for settings in platform.values():
        asked_for = [*settings["secretAsVolume"], *settings["configMapAsVolume"]]
        assert [item["optional"] for item in asked_for] == [True] * 4


def test_tasks_without_config_map_and_secrets_miss_none(tmp_path: Path) -> None:
    spec, platform = compiled(tmp_path, {"config_map": "", "s3_secret": ""})
    assert "env" not in spec["deploymentSpec"]["executors"]["exec-dataset"]["container"]
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-dataset"]
    assert not {"secretAsEnv", "configMapAsEnv", "configMapAsVolume", "secretAsVolume"} & set(settings)


def test_addresses_and_keys_are_mounted_by_name_only(platform: dict[str, Any]) -> None:
    for settings in platform.values():
        assert {item["secretName"]: item["mountPath"] for item in settings["secretAsVolume"]} == {
            "vigil-s3": "/etc/vigil/s3",
            "mlflow": "/etc/vigil/mlflow",
        }
        assert {item["configMapName"]: item["mountPath"] for item in settings["configMapAsVolume"]} == {
            "vigil-environment": "/etc/vigil/environment",
            "plant-ca": "/etc/vigil/ca",
        }
        assert settings["imagePullSecret"][0]["secretName"] == "registry"
        assert settings["securityContext"] == {"runAsUser": "1234", "runAsNonRoot": True}


def test_setting_of_the_version_before_is_read_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert parse_cluster({"s3_secret_mount": True}) == Cluster()
    assert "cluster.s3_secret_mount: no longer a setting; the Secret is always mounted" in caplog.text


def test_same_line_gives_the_same_bytes(package_file: Path, tmp_path: Path) -> None:
    write_package(tmp_path / "again.yaml", load_line(package_file.with_name("line.yaml")))
    assert (tmp_path / "again.yaml").read_bytes() == package_file.read_bytes()


def test_every_line_has_its_package(tmp_path: Path) -> None:
    for name in ("bolts", "nuts"):
        (tmp_path / f"{name}.yaml").write_text(LINE.replace("transistor_A.", name), encoding="utf-8")
    paths = write_packages(tmp_path / "packages", load_lines(tmp_path))
    assert [path.name for path in paths] == ["bolts.yaml", "nuts.yaml"]
    for path in paths:
        executors = documents(path)[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
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
        ({"s3_secret": "store.keys"}, "cluster.s3_secret: got 'store.keys', expected a name that can be mounted: at"),
        ({"config_map": "a" * 64}, "expected a name that can be mounted"),
        ({"s3_secret": "vigil-environment"}, "cluster.config_map: got 'vigil-environment', expected another name than"),
        (
            {"mlflow_secret": "s3-scratch"},
            "cluster.mlflow_secret: got 's3-scratch', expected another name, as Kubeflow",
        ),
        ({"volumes": [{"claim": "vigil-s3", "path": "/data"}]}, "cluster.s3_secret: got 'vigil-s3', expected another"),
        ({"volumes": [{"claim": "data"}]}, "cluster.volumes.path: got"),
        ({"volumes": [{"claim": "data", "path": "data"}]}, "cluster.volumes.path: got 'data', expected volumes: claim"),
        ({"volumes": [{"claim": "data", "path": "/tmp/data"}]}, "got '/tmp/data', expected a folder outside of"),
        ({"volumes": [{"claim": "data", "path": "/data/../etc"}]}, "got '/data/../etc', expected a folder outside of"),
        (
            {"volumes": [{"claim": "a", "path": "/data"}, {"claim": "b", "path": "/data/b"}]},
            "cluster.volumes.path: got '/data/b', expected a folder outside of the other volumes",
        ),
        ({"cache": "/data/cache"}, "cluster.cache: got '/data/cache', expected a folder of cluster.volumes"),
        ({"run_timeout_seconds": -1}, "cluster.run_timeout_seconds: got -1"),
        ({"image_pull_secrets": [""]}, "cluster.image_pull_secrets: got '', expected names"),
        ({"image_pull_secrets": "registry"}, "cluster.image_pull_secrets: got 'registry' (str), expected list"),
        ({"labels": {"a b": "c"}}, "cluster.labels.a b: got 'a b'"),
    ],
)
def test_bad_settings_are_named(content: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_cluster(content)
    assert message in str(caught.value)
