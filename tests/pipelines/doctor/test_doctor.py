"""`vigil doctor` against servers that answer as Kubernetes, Kubeflow Pipelines, MLflow and its proxies do."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.stage.images import image
from pipelines.cluster import following
from pipelines.doctor import services
from pipelines.doctor.task import examine_task
from tests.components.tracking.test_run import answering
from tests.pipelines.kfp_api import KfpApi, serve
from tests.pipelines.kubernetes_api import TOKEN, KubernetesApi, kubernetes_api
from tests.pipelines.vigil import Vigil

CONTROLLER = "/api/v1/namespaces/kubeflow/configmaps/workflow-controller-configmap"
SERVER = "/apis/apps/v1/namespaces/kubeflow/deployments/ml-pipeline"
OURS = "/api/v1/namespaces/kubeflow"
ONERROR = "spec: {templateDefaults: {retryStrategy: {limit: 2, retryPolicy: OnError}}}"


def secret(**values: str) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}


def proxied(**variables: str) -> dict[str, Any]:
    env = [{"name": name, "value": value} for name, value in variables.items()]
    return {"template": {"spec": {"containers": [{"name": "ml-pipeline-api-server", "env": env}]}}}


@pytest.fixture
def kubernetes() -> Iterator[KubernetesApi]:
    """An installation on which all is well."""
    with kubernetes_api() as api:
        api.add(CONTROLLER, data={"workflowDefaults": ONERROR.replace("OnError", "Always").replace("2", "'0'")})
        api.add(SERVER, spec=proxied())
        api.add("/api/v1/namespaces/default/services/kubernetes", spec={"clusterIP": "10.96.0.1"})
        api.add("/api/v1/namespaces/kubeflow", metadata={"labels": {}})
        api.add(f"{OURS}/configmaps/vigil-environment", data={"AWS_REGION": "us-east-1"})
        api.add(f"{OURS}/secrets/vigil-s3", data=secret(accesskey="key-id", secretkey="key-secret"))
        yield api


@pytest.fixture
def examined(kubernetes: KubernetesApi, tmp_path: Path, vigil: Vigil) -> Any:
    """The doctor on the installation, with a tracking server that answers with a status."""
    config = kubernetes.kubeconfig(tmp_path / "config")

    def run(*options: str | Path, status: int = 200, body: bytes = b"{}", uri: str = "") -> Any:
        with serve(KfpApi()) as kfp, answering(status, body) as address:
            found = kubernetes.objects[f"{OURS}/configmaps/vigil-environment"]["data"]
            found["MLFLOW_TRACKING_URI"] = uri or address
            return vigil("doctor", "--host", kfp.url, "--kubeconfig", config, *options)

    return run


def test_all_is_well(examined: Any) -> None:
    done = examined()
    assert done.code == 0, done.out + done.err
    for name in ("server", "retries", "proxies", "sidecars", "objects", "mlflow"):
        assert f"{name}: ok: " in done.out
    assert "buckets: unknown: no bucket is named" in done.out
    assert "key-secret" not in done.out + done.err
    assert TOKEN not in done.out + done.err


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"workflowDefaults": ONERROR}, "retryPolicy OnError: a task that failed, ran out of memory"),
        ({"config": yaml.safe_dump({"workflowDefaults": yaml.safe_load(ONERROR)})}, "retryPolicy OnError: a task"),
        ({}, "retryPolicy OnFailure: a task whose pod was evicted"),
    ],
)
def test_retry_policy(kubernetes: KubernetesApi, examined: Any, data: dict[str, str], found: str) -> None:
    kubernetes.add(CONTROLLER, data=data)
    done = examined("--only", "retries")
    assert done.code == 0
    assert f"retries: warning: {found}" in done.out
    assert "retryPolicy: Always" in done.out
    assert "limit: '0'" in done.out


def test_proxies_that_stand_in_the_way(kubernetes: KubernetesApi, examined: Any) -> None:
    kubernetes.add(SERVER, spec=proxied(HTTPS_PROXY="http://proxy:3128", NO_PROXY=".svc,.cluster.local"))
    data = kubernetes.objects[f"{OURS}/configmaps/vigil-environment"]["data"]
    data |= {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".cluster.local"}
    done = examined(uri="http://vigil-mlflow.inspection.svc:5000")
    assert done.code == 1
    assert "proxies: failed: Kubeflow gives its tasks a proxy" in done.out
    assert "mend: add 10.96.0.1 to NO_PROXY of deployment kubeflow/ml-pipeline" in done.out
    assert "proxies: failed: tasks would reach vigil-mlflow.inspection.svc through the proxy" in done.out
    assert "mlflow: unknown: http://vigil-mlflow.inspection.svc:5000 is known inside the cluster only" in done.out


def test_sidecar_of_mlflow(kubernetes: KubernetesApi, examined: Any) -> None:
    labels = {"app.kubernetes.io/name": "vigil", "app.kubernetes.io/component": "mlflow"}
    containers = [{"name": "mlflow"}, {"name": "istio-proxy"}]
    kubernetes.add(f"{OURS}/pods/vigil-mlflow-0", metadata={"labels": labels}, spec={"containers": containers})
    done = examined("--only", "sidecars")
    assert done.code == 1
    assert "sidecars: failed: vigil-mlflow-0 has a sidecar" in done.out
    assert 'mend: helm upgrade with mlflow.podLabels: {sidecar.istio.io/inject: "false"}' in done.out
    kubernetes.add(f"{OURS}/pods/vigil-mlflow-0", metadata={"labels": labels}, spec={"containers": containers[:1]})
    kubernetes.add("/api/v1/namespaces/kubeflow", metadata={"labels": {"istio-injection": "enabled"}})
    assert "ok: a mesh injects sidecars here, but not into MLflow" in examined("--only", "sidecars").out


def test_missing_and_empty_objects(kubernetes: KubernetesApi, examined: Any, tmp_path: Path) -> None:
    settings = {"mlflow_secret": "login", "ca_config_map": "ca", "webhook_secret": "hook", "image_pull_secrets": ["p"]}
    (tmp_path / "defaults.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    kubernetes.add(f"{OURS}/secrets/vigil-s3", data=secret(AWS_ACCESS_KEY_ID="key-id"))
    kubernetes.add(f"{OURS}/secrets/hook", data=secret(address="x"))
    kubernetes.add(f"{OURS}/secrets/p", data={".dockerconfigjson": ""})
    done = examined("--only", "objects", "--cluster-defaults", tmp_path / "defaults.yaml")
    assert done.code == 1
    for line in (
        "ok: configmap kubeflow/vigil-environment has",
        "failed: secret kubeflow/vigil-s3 has no AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or accesskey, secretkey",
        "failed: secret kubeflow/login does not exist",
        "failed: configmap kubeflow/ca does not exist",
        "failed: secret kubeflow/hook has no url",
        "ok: secret kubeflow/p has 1 keys",
    ):
        assert f"objects: {line}" in done.out


def test_what_may_not_be_read_is_unknown(kubernetes: KubernetesApi, examined: Any) -> None:
    kubernetes.forbidden |= {CONTROLLER, f"{OURS}/secrets"}
    done = examined("--only", "retries", "--only", "objects")
    assert done.code == 0
    assert "retries: unknown: " in done.out
    assert "does not permit this (403)" in done.out


@pytest.mark.parametrize(
    ("status", "body", "found", "mend"),
    [
        (401, b"no", "answers 401", "a login by cluster.mlflow_secret"),
        (403, b"RBAC: access denied", "answers 403", "no mesh in front of the server"),
        (404, b"", "answers 404", "without a path of its pages"),
        (500, b"", "answers 500", "see the log of the server's pod"),
        (200, b"<html>Log in</html>", "answers no JSON", "a page of a login"),
    ],
)
def test_tracking_server(examined: Any, status: int, body: bytes, found: str, mend: str) -> None:
    done = examined(status=status, body=body)
    assert done.code == 1
    assert found in done.out
    assert mend in done.out


def test_unknown_checks_and_missing_servers(vigil: Vigil, tmp_path: Path) -> None:
    assert "only: got 'heart', expected one of server, retries" in vigil("doctor", "--only", "heart").err
    done = vigil("doctor", "--kubeconfig", tmp_path / "none", "--host", "http://127.0.0.1:9")
    assert done.code == 1
    assert "server: failed: cannot reach http://127.0.0.1:9" in done.out
    assert "retries: unknown: kubeconfig: " in done.out


def test_task_says_what_is_wrong_in_its_pod(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with answering(403, b"RBAC: access denied") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        with pytest.raises(RuntimeError, match=r"answers 403; no mesh in front"):
            examine_task([])
    assert "mlflow: failed: " in capsys.readouterr().out
    with answering(200, b"{}") as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        examine_task([])
        found = services.mlflow({"MLFLOW_TRACKING_URI": address.replace("//", "//user:secret@")})
    assert "secret" not in found.found


@pytest.mark.parametrize(("state", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_test_task_runs_with_the_settings_of_all_tasks(
    vigil: Vigil, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, code: int
) -> None:
    monkeypatch.setattr(following, "POLL_SECONDS", 0.0)
    (tmp_path / "defaults.yaml").write_text("{labels: {team: vision}, webhook_secret: hook}", encoding="utf-8")
    options = ("--only", "server", "--test-task", "--bucket", "s3://lines", "--cluster-defaults")
    with serve(KfpApi(script=[{"state": "RUNNING"}, {"state": state}])) as api:
        done = vigil("doctor", "--host", api.url, *options, tmp_path / "defaults.yaml")
    assert done.code == code, done.err
    assert f"task: {'failed' if code else 'ok'}: " in done.out
    (run,) = api.items["runs"]
    assert run["runtime_config"]["parameters"] == {"buckets": ["s3://lines"]}
    (version,) = api.items["versions"]
    assert version["name"].startswith("probe-")
    (package,) = api.packages.values()
    (executor,) = package["deploymentSpec"]["executors"].values()
    assert executor["container"]["image"] == image("cli")
    variables = {item["name"] for item in executor["container"]["env"]}
    assert "VIGIL_S3_SECRET" in variables
    assert "VIGIL_WEBHOOK_DIR" not in variables  # it is for the last stage of a line alone
