"""What the chart adds for watching lines and for serving them: exporter, alerts, watch, KServe, the test pod."""

import re
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from typer.main import get_command

from components.registry.deployable import Deployable
from components.serving.server import NAME
from pipelines.cli import app
from pipelines.deployment.kserve import MODEL_FORMAT, Serving, chart_values, inference_service, shown
from pipelines.monitoring.exporter import LineCollector
from tests.charts.helm import Manifest, merged, render
from tests.charts.toggles import TOGGLES

pytestmark = pytest.mark.chart


def container(pod: Manifest) -> Manifest:
    (only,) = pod["containers"]
    return dict(only)


def known_options(command: str) -> set[str]:
    found: Any = get_command(app)
    return {option for parameter in found.commands[command].params for option in parameter.opts}


def test_nothing_of_it_is_there_by_default() -> None:
    manifests = render()
    custom = {"CronJob", "ServiceMonitor", "PrometheusRule", "InferenceService", "ServingRuntime"}
    assert not custom & {item["kind"] for item in manifests}


def test_no_sidecar_stands_in_front_of_mlflow_and_the_test_pod_has_none() -> None:
    manifests = render()
    template = manifests.of("Deployment")["spec"]["template"]
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    test = manifests.of("Pod")
    assert test["metadata"]["annotations"]["helm.sh/hook"] == "test"
    assert test["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    assert test["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    asked = container(test["spec"])
    assert asked["command"] == ["vigil", "doctor"]
    assert set(asked["args"][::2]) <= known_options("doctor")
    assert [source["configMapRef"]["name"] for source in asked["envFrom"]] == ["vigil-environment"]


def test_exporter_and_watch_run_commands_that_exist() -> None:
    manifests = render(TOGGLES["watching"])
    exporter = container(manifests.of("Deployment", "-exporter")["spec"]["template"]["spec"])
    watch = container(manifests.of("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"])
    for found, name in ((exporter, "exporter"), (watch, "watch")):
        assert found["command"] == ["vigil", name]
        assert {argument.partition("=")[0] for argument in found["args"]} <= known_options(name)
        assert found["image"].startswith("vigil/vigil-mlflow:")
        assert found["envFrom"] == [{"secretRef": {"name": "mlflow-login"}}]
    variables = {item["name"]: item["value"] for item in watch["env"]}
    assert variables["VIGIL_WEBHOOK_DIR"] == "/etc/vigil/webhook"
    assert variables["HTTPS_PROXY"] == "http://proxy.example:3128"
    pod = manifests.of("CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (volume,) = [item for item in pod["volumes"] if item["name"] == "webhook"]
    assert volume["secret"] == {"secretName": "hook"}
    defaults = yaml.safe_load(manifests.of("ConfigMap", "-cluster-defaults")["data"]["cluster.yaml"])
    assert defaults["webhook_secret"] == "hook"


def test_alerts_ask_for_what_the_exporter_gives() -> None:
    manifests = render(TOGGLES["watching"])
    registry = CollectorRegistry()
    registry.register(LineCollector("sqlite://", 1))
    given = {family.name for family in registry.collect()}
    (group,) = manifests.of("PrometheusRule")["spec"]["groups"]
    asked = {name for rule in group["rules"] for name in re.findall(r"vigil_\w+", rule["expr"])}
    assert asked <= given
    assert {rule["alert"] for rule in group["rules"]} >= {"VigilLineOverdue", "VigilChampionWeak", "VigilMlflowUnread"}
    (overdue,) = [rule["expr"] for rule in group["rules"] if rule["alert"] == "VigilLineOverdue"]
    assert overdue.endswith("> 172800")
    monitor = manifests.of("ServiceMonitor")
    service = manifests.of("Service", "-exporter")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_inference_services_are_those_of_the_command_line() -> None:
    manifests = render(TOGGLES["serving"])
    for line, model in TOGGLES["serving"]["serving"]["models"].items():
        found = Deployable(line=line, version=str(model["version"]), uri=model["storageUri"])
        settings = Serving(service_account="kserve-store", canary_percent=model.get("canaryPercent", 0))
        expected = shown(inference_service(found, settings))
        item = manifests.of("InferenceService", expected["metadata"]["name"])
        assert item["spec"] == expected["spec"]
        assert item["metadata"]["annotations"] == expected["metadata"]["annotations"]
        assert expected["metadata"]["labels"].items() <= item["metadata"]["labels"].items()
        enabled = {"serving": {"enabled": True, "serviceAccountName": "kserve-store"}}
        values = merged(enabled, chart_values(found, settings))
        assert render(values).of("InferenceService")["spec"] == expected["spec"]


def test_runtime_serves_the_format_by_the_v2_protocol() -> None:
    runtime = render(TOGGLES["serving"]).of("ServingRuntime")
    assert runtime["metadata"]["name"] == Serving().runtime
    assert [item["name"] for item in runtime["spec"]["supportedModelFormats"]] == [MODEL_FORMAT]
    assert runtime["spec"]["protocolVersions"] == ["v2"]
    server = container(runtime["spec"])
    assert server["command"] == ["python3", "-m", "components.serving"]
    assert server["securityContext"]["readOnlyRootFilesystem"] is True
    assert NAME in server["image"]


def test_queue_is_a_label_of_the_tasks_beside_those_given() -> None:
    text = render(TOGGLES["queue"]).of("ConfigMap", "-cluster-defaults")["data"]["cluster.yaml"]
    assert yaml.safe_load(text)["labels"] == {"team": "vision", "kueue.x-k8s.io/queue-name": "vision"}
