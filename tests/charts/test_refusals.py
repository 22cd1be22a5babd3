"""Values that helm refuses, each with a message that names the value."""

import json
from typing import Any

import pytest

from components.detectors.config import TRAINING_SETS
from components.detectors.table import DETECTORS
from components.errors import InputError
from pipelines.lines import line as lines
from pipelines.lines.cluster import Cluster, Resources, parse_cluster
from tests.charts.helm import CHART, call, merged, refusal, render
from tests.charts.toggles import CERTIFICATE, LINE

pytestmark = pytest.mark.chart

_SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))


def _line(**values: Any) -> dict[str, Any]:
    return {"lines": {"metal-nut": merged(LINE, values)}}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"image": {"registry": ""}}, "image.registry: got nothing, expected the registry and path in front of"),
        ({"s3": {"existingSecret": "vigil-environment"}}, 's3_secret: got "vigil-environment", expected another name'),
        ({"clusterDefaults": {"mlflow_secret": "store"}}, 'mlflow_secret: got "store", expected another name than s3_'),
        ({"s3": {"existingSecret": ""}}, "s3: got no keys"),
        ({"s3": {"accessKeyId": "a", "secretAccessKey": "b"}}, "s3: got existingSecret and keys"),
        ({"s3": {"existingSecret": "", "accessKeyId": "a"}}, "s3: got one key"),
        ({"s3": {"existingSecret": "", "secretAccessKey": "a"}}, "s3: got one key"),
        (
            {"ca": {"existingConfigMap": "a", "certificates": CERTIFICATE}},
            "ca: got existingConfigMap",
        ),
        ({"mlflow": {"trackingUri": "https://mlflow.example"}}, "mlflow.trackingUri: got the address of another"),
        ({"mlflow": {"enabled": False}}, "mlflow.trackingUri: got nothing"),
        ({"mlflow": {"replicas": 2}}, "mlflow.replicas: got 2, expected 1 with sqlite"),
        ({"mlflow": {"workers": 2}}, "mlflow.workers: got 2, expected 1 with sqlite"),
        ({"mlflow": {"ingress": {"enabled": True}}}, "mlflow.ingress.host: got nothing"),
        (_line(name="other"), 'lines.metal-nut.name: got "other", expected "metal-nut" or no name'),
    ],
)
def test_values_that_do_not_belong_together_are_refused(values: dict[str, Any], expected: str) -> None:
    assert expected in refusal(values)


def _path(values: Any, *keys: str) -> str:
    """JSON pointer of the deepest key of nested values with one key each."""
    return _path(next(iter(values.values())), *keys, next(iter(values))) if isinstance(values, dict) else "/".join(keys)


@pytest.mark.parametrize(
    "values",
    [
        {"s3": {"endpoint": "store.example:9000"}},
        {"s3": {"endpoint": "https://store.example/path"}},
        {"s3": {"existingSecret": "Store_1"}},
        {"s3": {"region": ""}},
        {"ca": {"certificates": "no certificate"}},
        {"ca": {"certificates": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----"}},
        {"ca": {"key": "../ca.crt"}},
        {"image": {"registry": "vigil/"}},
        {"s3": {"existingSecret": "store.keys"}},
        {"s3": {"existingSecret": "s" * 64}},
        {"ca": {"existingConfigMap": "plant.ca"}},
        {"clusterDefaults": {"mlflow_secret": "mlflow.login"}},
        {"image": {"tag": "a b"}},
        {"image": {"pullPolicy": "Sometimes"}},
        {"kfp": {"endpoint": "ml-pipeline:8888"}},
        {"kfp": {"ui": "kubeflow.example"}},
        {"kfp": {"multiUser": "yes"}},
        {"weightsMirror": "https://weights.example"},
        {"weightsManifest": "s3://weights"},
        {"network": {"HTTPS_PROXY": "http://user:secret@proxy.example:3128"}},
        {"checkpoints": "/data"},
        {"fullnameOverride": "Vigil"},
        {"fullnameOverride": "v" * 46},
        {"mlflow": {"artifacts": "/data"}},
        {"mlflow": {"artifacts": "s3://No_Bucket"}},
        {"mlflow": {"replicas": 0}},
        {"mlflow": {"workers": 1.5}},
        {"mlflow": {"service": {"port": 70000}}},
        {"mlflow": {"service": {"type": "ExternalName"}}},
        {"mlflow": {"persistence": {"size": "10 GB"}}},
        {"mlflow": {"persistence": {"size": "10K"}}},
        {"mlflow": {"ingress": {"host": "https://mlflow.example"}}},
        {"jobs": {"backoffLimit": -1}},
        {"jobs": {"activeDeadlineSeconds": 0}},
        {"clusterDefaults": {"retries": 11}},
        {"clusterDefaults": {"s3_secret": "Store_1"}},
        {"clusterDefaults": {"task": {"memory": "8 GB"}}},
        {"clusterDefaults": {"task": {"memory": "8K"}}},
        {"clusterDefaults": {"task": {"shared_memory": "8K"}}},
        {"clusterDefaults": {"task": {"cpu": "two"}}},
        {"clusterDefaults": {"vqgan": {"gpu": -1}}},
    ],
)
def test_value_out_of_its_range_is_refused(values: dict[str, Any]) -> None:
    assert f"at '/{_path(values)}'" in refusal(values)


@pytest.mark.parametrize(
    ("values", "pointer"),
    [
        ({"mlflow": {"allowedHosts": ["a,b"]}}, "mlflow/allowedHosts/0"),
        ({"mlflow": {"allowedOrigins": ["mlflow.example"]}}, "mlflow/allowedOrigins/0"),
        ({"buckets": {"uris": ["lines"]}}, "buckets/uris/0"),
        ({"image": {"pullSecrets": [{"name": "pull"}]}}, "image/pullSecrets/0"),
        (_line(object=""), "lines/metal-nut/object"),
        (_line(dataset={"uri": "/data/metal-nut"}), "lines/metal-nut/dataset/uri"),
        (_line(dataset={"shots": 0}), "lines/metal-nut/dataset/shots"),
        (_line(schedule={"cron": "0 2 * * *"}), "lines/metal-nut/schedule/cron"),
        (_line(schedule={"cron": "at two in the very night"}), "lines/metal-nut/schedule/cron"),
        (_line(schedule={"cron": "0 0 2 * * *,"}), "lines/metal-nut/schedule/cron"),
        (_line(schedule={"cron": "0 0 2 * * * 2026"}), "lines/metal-nut/schedule/cron"),
        (_line(schedule={"enabled": "no"}), "lines/metal-nut/schedule/enabled"),
        (_line(profile="fast"), "lines/metal-nut/profile"),
        (_line(seed=-1), "lines/metal-nut/seed"),
        (_line(detectors=[]), "lines/metal-nut/detectors"),
        (_line(detectors=["patchcore", "patchcore"]), "lines/metal-nut/detectors"),
        (_line(cluster={"timeout_seconds": -1}), "lines/metal-nut/cluster/timeout_seconds"),
    ],
)
def test_value_in_a_list_or_a_line_is_refused(values: dict[str, Any], pointer: str) -> None:
    assert f"at '/{pointer}'" in refusal(values)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"line": {}}, "line"),
        ({"s3": {"bucket": "a"}}, "bucket"),
        ({"mlflow": {"databse": {}}}, "databse"),
        ({"mlflow": {"resources": {"request": {}}}}, "request"),
        ({"clusterDefaults": {"configMap": "a"}}, "configMap"),
        ({"clusterDefaults": {"task": {"gpus": 1}}}, "gpus"),
        (_line(detector=["patchcore"]), "detector"),
        (_line(schedule={"crom": "0 0 2 * * *"}), "crom"),
        (_line(cluster={"gpu": 1}), "gpu"),
        ({"network": {"AWS_SECRET_ACCESS_KEY": "secret"}}, "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_unknown_key_is_refused(values: dict[str, Any], key: str) -> None:
    assert f"additional properties '{key}' not allowed" in refusal(values)


@pytest.mark.parametrize("missing", ["object", "dataset"])
def test_line_without_an_essential_key_is_refused(missing: str) -> None:
    values = {"lines": {"metal-nut": {key: value for key, value in LINE.items() if key != missing}}}
    assert f"missing property '{missing}'" in refusal(values)


def test_line_without_data_is_refused() -> None:
    assert "missing property 'uri'" in refusal({"lines": {"metal-nut": {"object": "nut", "dataset": {"shots": 1}}}})


@pytest.mark.parametrize("name", ["metal nut", "-nut", "a/b", "n" * 64])
def test_line_whose_name_is_no_name_is_refused(name: str) -> None:
    message = refusal({"lines": {name: LINE}})
    assert "invalid propertyName" in message
    assert name in message


def test_name_that_yaml_reads_as_true_or_false_is_refused() -> None:
    """Helm's YAML turns the keys on, yes, y and the like into true: the line would have another name."""
    done = call(
        "template", "vigil", values="s3: {existingSecret: a}\nlines: {on: {object: a, dataset: {uri: s3://lines}}}"
    )
    assert done.returncode != 0
    assert "invalid propertyName 'true'" in done.stderr


def test_chart_as_part_of_another_chart_takes_global_values() -> None:
    assert render({"global": {"region": "factory"}}).kinds("Deployment") == ["vigil-mlflow"]


def _keys(kind: Any) -> set[str]:
    return set(kind.model_fields)


def test_schema_knows_every_key_of_a_line_and_no_other() -> None:
    properties = _SCHEMA["definitions"]["line"]["properties"]
    assert set(properties) == {*lines.Line.model_fields, "generator", "gate"}
    assert set(properties["profile"]["enum"]) == set(lines.PROFILES)
    assert set(properties["dataset"]["properties"]) <= set(lines.SECTIONS["dataset"].fields)
    with pytest.raises(InputError) as caught:
        lines.parse_line({**LINE, "name": "metal-nut", "schedule": {"unknown": 1}}, CHART)
    assert set(str(caught.value).partition("expected one of ")[2].split(", ")) == set(
        properties["schedule"]["properties"]
    )


def test_schema_knows_every_setting_of_the_tasks_and_no_other() -> None:
    assert set(_SCHEMA["definitions"]["cluster"]["properties"]) == {*_keys(Cluster), "generator", "s3_secret_mount"}
    assert set(_SCHEMA["definitions"]["taskResources"]["properties"]) == _keys(Resources)


def test_values_that_the_schema_takes_for_the_tasks_are_taken_by_the_pipelines() -> None:
    """Every example passes helm's schema and our own check alike."""
    resources = {
        "cpu": 2,
        "memory": "8Gi",
        "gpu": 1,
        "accelerator": "nvidia.com/gpu",
        "shared_memory": "2Gi",
        "node_selector": {"disk": "ssd"},
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "toleration_seconds": 30}],
    }
    cluster = {
        **dict.fromkeys(("task", "vqgan", "detection"), resources),
        **{name: name.replace("_", "-") for name in ("config_map", "s3_secret", "mlflow_secret", "ca_config_map")},
        "volumes": [{"claim": "weights", "path": "/mnt/weights"}],
        "cache": "/mnt/weights/cache",
        "run_timeout_seconds": 86400,
        "ttl_seconds": 3600,
        "parallelism": 2,
        "retries": 10,
        "backoff_seconds": 3600,
        "timeout_seconds": 0,
        "image_pull_secrets": ["pull"],
        "run_as_user": 1000,
        "labels": {"team": "vision"},
        "webhook_secret": "hook",
    }
    assert set(cluster) == _keys(Cluster)
    assert set(resources) == _keys(Resources)
    parse_cluster(cluster)
    render({"clusterDefaults": cluster})


def test_all_detectors_and_training_sets_fit_the_schema() -> None:
    render(_line(detectors=list(DETECTORS), training_sets=list(TRAINING_SETS)))
