"""What each value changes, on parsed manifests."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from components import __version__
from components.stage.images import USER_ID, image
from components.task_environment import CA_FOLDER, CONFIG_MAP_KEYS
from pipelines.lines.cluster import parse_cluster
from pipelines.lines.line import load_line
from tests.charts.helm import BASE, Manifest, Manifests, call, merged, render
from tests.charts.toggles import CERTIFICATE, LINE, TOGGLES

pytestmark = pytest.mark.chart


def server(manifests: Manifests) -> Manifest:
    (container,) = manifests.of("Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def job(manifests: Manifests, suffix: str) -> Manifest:
    (container,) = manifests.of("Job", suffix)["spec"]["template"]["spec"]["containers"]
    return dict(container)


def environment(container: Manifest) -> dict[str, Any]:
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


def tasks(manifests: Manifests) -> dict[str, str]:
    return dict(manifests.of("ConfigMap", "-environment")["data"])


def volumes(item: Manifest) -> dict[str, Manifest]:
    return {volume["name"]: volume for volume in item["spec"]["template"]["spec"]["volumes"]}


def option(container: Manifest, name: str) -> str:
    (value,) = [item.removeprefix(f"{name}=") for item in container["args"] if item.startswith(f"{name}=")]
    return str(value)


def defaults(manifests: Manifests) -> dict[str, Any]:
    content = yaml.safe_load(manifests.of("ConfigMap", "-cluster-defaults")["data"]["cluster.yaml"])
    parse_cluster(content)
    return dict(content)


def test_defaults_install_a_tracking_server_on_sqlite_and_two_kinds_of_jobs() -> None:
    manifests = render()
    assert manifests.kinds("Deployment") == ["vigil-mlflow"]
    assert manifests.kinds("Job") == ["vigil-buckets", "vigil-schedule-apply", "vigil-schedule-remove"]
    assert manifests.kinds("PersistentVolumeClaim") == ["vigil-mlflow"]
    assert manifests.kinds("Secret") == []
    for kind in ("Role", "RoleBinding", "Ingress", "NetworkPolicy", "PodDisruptionBudget"):
        assert manifests.kinds(kind) == []
    assert manifests.of("Deployment")["spec"]["strategy"] == {"type": "Recreate"}
    assert manifests.of("Deployment")["spec"]["replicas"] == 1


def test_images_are_those_of_the_project() -> None:
    manifests = render()
    assert server(manifests)["image"] == f"vigil/vigil-mlflow:{__version__}"
    assert job(manifests, "apply")["image"] == image("cli")
    other = render(TOGGLES["images"])
    assert server(other)["image"] == "images.example/vision/vigil-mlflow:1.2.3"
    assert environment(job(other, "apply"))["VIGIL_IMAGE_REGISTRY"] == "images.example/vision"
    for pod in manifests.pod_specs():
        assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == USER_ID
    for pod in other.pod_specs():
        assert pod["imagePullSecrets"] == [{"name": "pull"}]
    assert defaults(other)["image_pull_secrets"] == ["pull"]


def test_tracking_server_keeps_artifacts_in_the_object_store() -> None:
    container = server(render(TOGGLES["endpoint"]))
    assert "--serve-artifacts" in container["args"]
    assert option(container, "--artifacts-destination") == "s3://mlflow"
    variables = environment(container)
    assert variables["MLFLOW_S3_ENDPOINT_URL"] == "https://store.example:9000"
    assert variables["AWS_DEFAULT_REGION"] == "eu-central-1"
    assert variables["MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE"] == "path"
    assert variables["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "store", "key": "AWS_ACCESS_KEY_ID"}}
    assert variables["AWS_SECRET_ACCESS_KEY"] == {"secretKeyRef": {"name": "store", "key": "AWS_SECRET_ACCESS_KEY"}}
    assert variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert variables["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "MLFLOW_S3_ENDPOINT_URL" not in environment(server(render()))


def test_tracking_server_answers_to_all_names_of_its_service() -> None:
    hosts = option(server(render(TOGGLES["names"])), "--allowed-hosts").split(",")
    names = ["inspection-mlflow"]
    names += [f"{names[0]}.inspection{rest}" for rest in ("", ".svc", ".svc.factory.local")]
    assert set(hosts) == {*names, *(f"{name}:5000" for name in names), "localhost", "localhost:*"}


def test_ingress_adds_its_host_and_origin() -> None:
    manifests = render(TOGGLES["ingress with TLS"])
    container = server(manifests)
    hosts = option(container, "--allowed-hosts").split(",")
    assert {"mlflow.example", "tracking.example"} <= set(hosts)
    assert "localhost" not in hosts
    assert option(container, "--cors-allowed-origins") == "https://mlflow.example,https://tracking.example"
    ingress = manifests.of("Ingress")["spec"]
    assert ingress["ingressClassName"] == "nginx"
    assert ingress["tls"] == [{"hosts": ["mlflow.example"], "secretName": "mlflow-tls"}]
    (rule,) = ingress["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert (rule["host"], backend) == ("mlflow.example", {"name": "vigil-mlflow", "port": {"name": "http"}})
    plain = render(TOGGLES["ingress"])
    assert option(server(plain), "--cors-allowed-origins") == "http://mlflow.example"
    assert "tls" not in plain.of("Ingress")["spec"]


def test_postgresql_replaces_file_and_volume() -> None:
    manifests = render(TOGGLES["postgresql"])
    deployment = manifests.of("Deployment")
    assert deployment["spec"]["replicas"] == 3
    assert option(server(manifests), "--workers") == "4"
    assert option(server(render()), "--workers") == "1"
    assert deployment["spec"]["strategy"] == {"type": "RollingUpdate"}
    assert manifests.kinds("PersistentVolumeClaim") == []
    assert manifests.of("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert "data" not in volumes(deployment)
    pod = deployment["spec"]["template"]["spec"]
    for container in (*pod["initContainers"], *pod["containers"]):
        uri = environment(container)["MLFLOW_BACKEND_STORE_URI"]
        assert uri == {"secretKeyRef": {"name": "postgres", "key": "dsn"}}


def test_volume_is_claimed_existing_or_passing() -> None:
    claim = render(TOGGLES["storage class"]).of("PersistentVolumeClaim")
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    assert "annotations" not in claim["metadata"]
    kept = render().of("PersistentVolumeClaim")
    assert kept["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert volumes(render().of("Deployment"))["data"]["persistentVolumeClaim"] == {"claimName": "vigil-mlflow"}

    existing = render(TOGGLES["existing claim"])
    assert existing.kinds("PersistentVolumeClaim") == []
    assert volumes(existing.of("Deployment"))["data"]["persistentVolumeClaim"] == {"claimName": "tracking-data"}

    passing = render(TOGGLES["no volume"])
    assert passing.kinds("PersistentVolumeClaim") == []
    assert volumes(passing.of("Deployment"))["data"] == {"name": "data", "emptyDir": {}}


def test_service_port_reaches_tasks_hosts_and_probes() -> None:
    manifests = render(TOGGLES["service port"])
    service = manifests.of("Service")["spec"]
    assert service["type"] == "NodePort"
    assert service["ports"] == [{"name": "http", "port": 80, "targetPort": "http"}]
    assert tasks(manifests)["MLFLOW_TRACKING_URI"] == "http://vigil-mlflow.inspection.svc:80"
    assert "vigil-mlflow:80" in option(server(manifests), "--allowed-hosts").split(",")
    container = server(manifests)
    assert container["ports"] == [{"name": "http", "containerPort": 5000}]
    assert option(container, "--port") == "5000"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}


def test_other_tracking_server_leaves_ours_out() -> None:
    manifests = render(merged(TOGGLES["other tracking server"], TOGGLES["network policy of jobs"]))
    for kind in ("Deployment", "Service", "PersistentVolumeClaim", "Ingress"):
        assert manifests.kinds(kind) == []
    assert manifests.kinds("NetworkPolicy") == ["vigil-jobs"]
    assert tasks(manifests)["MLFLOW_TRACKING_URI"] == "https://mlflow.example"
    assert "vigil-buckets" not in manifests.kinds("Job")


def test_buckets_job_creates_each_bucket_once() -> None:
    container = job(render(TOGGLES["more buckets"]), "buckets")
    assert container["command"] == ["vigil", "buckets", "create"]
    assert container["args"] == ["s3://mlflow", "s3://lines", "s3://weights"]
    assert {item["configMapRef"]["name"] for item in container["envFrom"]} == {"vigil-environment"}
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(environment(container))
    assert "vigil-buckets" not in render(TOGGLES["no buckets"]).kinds("Job")


def test_environment_of_the_tasks_holds_what_they_read() -> None:
    everything: dict[str, Any] = {}
    toggles = ("endpoint", "user interface", "weights mirror", "weights manifest", "network", "checkpoints")
    for toggle in (*toggles, "own authority"):
        everything = merged(everything, TOGGLES[toggle])
    data = tasks(render(everything))
    assert data == {
        "S3_ENDPOINT": "https://store.example:9000",
        "S3_ADDRESSING": "path",
        "AWS_REGION": "eu-central-1",
        "MLFLOW_TRACKING_URI": "http://vigil-mlflow.inspection.svc:5000",
        "MLFLOW_TRACKING_SERVER_CERT_PATH": f"{CA_FOLDER}/ca.crt",
        "SSL_CERT_FILE": f"{CA_FOLDER}/ca.crt",
        "VIGIL_KFP_UI": "https://kubeflow.example/pipeline",
        "VIGIL_WEIGHTS_MIRROR": "s3://weights/mirror",
        "VIGIL_WEIGHTS_MANIFEST": "s3://weights/base/weights.yaml",
        "VIGIL_CHECKPOINTS": "s3://weights/loops",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "NO_PROXY": ".svc",
        "VIGIL_NET_ATTEMPTS": "9",
    }
    assert set(data) <= set(CONFIG_MAP_KEYS)
    assert set(tasks(render())) == {"AWS_REGION", "MLFLOW_TRACKING_URI", "S3_ADDRESSING"}


def test_schedule_job_reads_the_manifest_of_own_weights() -> None:
    reading, plain = (job(render(TOGGLES[toggle]), "-schedule-apply") for toggle in ("weights manifest", "defaults"))
    assert reading["envFrom"] == [{"configMapRef": {"name": "vigil-environment"}}]
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} <= set(environment(reading))
    assert "envFrom" not in plain
    assert "AWS_ACCESS_KEY_ID" not in environment(plain)


@pytest.mark.parametrize(
    ("toggle", "name", "key"),
    [("own authority", "vigil-ca", "ca.crt"), ("existing authority", "company-ca", "bundle.pem")],
)
def test_private_authority_reaches_every_pod_and_task(toggle: str, name: str, key: str) -> None:
    manifests = render(TOGGLES[toggle])
    for item in manifests:
        if item["kind"] in ("Deployment", "Job"):
            assert volumes(item)["ca"] == {"name": "ca", "configMap": {"name": name}}
            for container in item["spec"]["template"]["spec"]["containers"]:
                assert {"name": "ca", "mountPath": CA_FOLDER, "readOnly": True} in container["volumeMounts"]
    assert environment(server(manifests))["AWS_CA_BUNDLE"] == f"{CA_FOLDER}/{key}"
    assert tasks(manifests)["SSL_CERT_FILE"] == f"{CA_FOLDER}/{key}"
    assert defaults(manifests)["ca_config_map"] == name


def test_own_authority_is_written_as_it_was_given() -> None:
    assert render(TOGGLES["own authority"]).of("ConfigMap", "-ca")["data"] == {"ca.crt": CERTIFICATE}
    assert "vigil-ca" not in render(TOGGLES["existing authority"]).kinds("ConfigMap")
    assert "AWS_CA_BUNDLE" not in environment(server(render()))


def test_cluster_defaults_name_what_the_chart_creates_and_can_be_overridden() -> None:
    assert defaults(render()) == {"config_map": "vigil-environment", "s3_secret": "store"}
    content = defaults(render(TOGGLES["cluster defaults"]))
    assert content == {
        "config_map": "vigil-environment",
        "s3_secret": "store",
        **TOGGLES["cluster defaults"]["clusterDefaults"],
    }
    own = render({"clusterDefaults": {"s3_secret": "other", "task": {"cpu": 2}}})
    assert defaults(own)["s3_secret"] == "other"
    created = render(TOGGLES["created secret"])
    assert defaults(created)["s3_secret"] == created.of("Secret")["metadata"]["name"] == "vigil-s3"


def test_empty_cluster_defaults_override_what_the_chart_creates() -> None:
    toggle = TOGGLES["cluster defaults switched off"]
    assert defaults(render(toggle)) == toggle["clusterDefaults"]


def test_schedule_job_runs_after_the_buckets_job_with_the_lines() -> None:
    manifests = render({"lines": {"metal-nut": LINE}})
    apply, buckets = manifests.of("Job", "apply"), manifests.of("Job", "buckets")
    for annotations in (item["metadata"]["annotations"] for item in (apply, buckets)):
        assert set(annotations["helm.sh/hook"].split(",")) == {"post-install", "post-upgrade", "post-rollback"}
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation"
    weights = [int(item["metadata"]["annotations"]["helm.sh/hook-weight"]) for item in (buckets, apply)]
    assert weights[0] < weights[1]
    assert (apply["spec"]["backoffLimit"], apply["spec"]["activeDeadlineSeconds"]) == (3, 1800)
    assert volumes(apply)["lines"]["configMap"] == {"name": "vigil-lines"}
    assert list(manifests.of("ConfigMap", "vigil-lines")["data"]) == ["metal-nut.yaml"]
    variables = environment(job(manifests, "apply"))
    assert variables["KF_PIPELINES_ENDPOINT"] == "http://ml-pipeline.kubeflow.svc:8888"
    assert not {name for name in variables if name.startswith("AWS_")}


def test_uninstall_applies_a_line_without_a_schedule(tmp_path: Path) -> None:
    manifests = render({"lines": {"metal-nut": LINE}})
    remove = manifests.of("Job", "remove")
    assert remove["metadata"]["annotations"]["helm.sh/hook"] == "pre-delete"
    assert volumes(remove)["lines"]["configMap"] == {"name": "vigil-no-lines"}
    ((name, text),) = manifests.of("ConfigMap", "-no-lines")["data"].items()
    (tmp_path / name).write_text(text)
    assert load_line(tmp_path / name).schedule.cron == ""
    assert volumes(render().of("Job", "apply"))["lines"]["configMap"] == {"name": "vigil-no-lines"}


def test_schedules_outlive_the_release_where_they_are_not_all_its_own() -> None:
    shared = render(TOGGLES["shared scheduler"])
    assert job(shared, "apply")["args"][-1] == "--no-prune"
    assert "--no-prune" not in job(render(), "apply")["args"]
    assert shared.kinds("Job") == ["vigil-buckets", "vigil-schedule-apply"]
    kept = render(TOGGLES["schedules outlive the release"])
    assert kept.kinds("Job") == ["vigil-buckets", "vigil-schedule-apply"]


def test_without_schedule_there_is_neither_job_nor_account_of_it() -> None:
    manifests = render(TOGGLES["no schedule"])
    assert manifests.kinds("Job") == ["vigil-buckets"]
    assert manifests.kinds("ServiceAccount") == ["vigil"]


def test_notes_tell_that_earlier_schedules_go_on_where_they_are_not_touched() -> None:
    def notes(toggle: str) -> str:
        values = merged(BASE, TOGGLES[toggle])
        done = call("install", "vigil", "--dry-run=client", "--namespace", "inspection", values=values)
        assert done.returncode == 0, done.stderr
        return " ".join(done.stdout.partition("NOTES:")[2].split())

    untouched = "Those that it made before go on, and stay after uninstall; to remove them, upgrade once with"
    assert untouched in notes("no schedule")
    assert untouched not in notes("defaults")
    assert "logs job/vigil-schedule-apply" in notes("defaults")


def test_single_user_needs_no_rights_and_no_token() -> None:
    manifests = render()
    assert "--namespace" not in job(manifests, "apply")["args"]
    assert "token" not in volumes(manifests.of("Job", "apply"))


def test_multi_user_has_a_token_for_the_pipelines_api_and_its_verbs_only() -> None:
    manifests = render(TOGGLES["multi-user"])
    container = job(manifests, "apply")
    index = container["args"].index("--namespace")
    assert container["args"][index + 1] == "inspection"
    (source,) = volumes(manifests.of("Job", "apply"))["token"]["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
    (mount,) = [item for item in container["volumeMounts"] if item["name"] == "token"]
    path = environment(container)["KF_PIPELINES_SA_TOKEN_PATH"]
    assert path == f"{mount['mountPath']}/{source['serviceAccountToken']['path']}"

    rules = manifests.of("Role")["rules"]
    assert {group for rule in rules for group in rule["apiGroups"]} == {"pipelines.kubeflow.org"}
    assert "*" not in {name for rule in rules for name in (*rule["resources"], *rule["verbs"])}
    binding = manifests.of("RoleBinding")
    assert binding["roleRef"]["name"] == manifests.of("Role")["metadata"]["name"]
    subject = {"kind": "ServiceAccount", "name": "vigil-schedule", "namespace": "inspection"}
    assert binding["subjects"] == [subject]
    pod = manifests.of("Job", "apply")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == "vigil-schedule"
    assert "token" not in volumes(manifests.of("Job", "buckets"))


def test_network_policy_lets_tasks_in_and_nobody_to_the_jobs() -> None:
    manifests = render(TOGGLES["network policy"])
    jobs = manifests.of("NetworkPolicy", "-jobs")["spec"]
    assert jobs["policyTypes"] == ["Ingress"]
    assert "ingress" not in jobs
    (rule,) = manifests.of("NetworkPolicy", "-mlflow")["spec"]["ingress"]
    assert rule["ports"] == [{"port": "http"}]
    assert rule["from"] == [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": {"a": "b"}}}]
    labels = manifests.of("Job", "apply")["spec"]["template"]["metadata"]["labels"]
    (expression,) = jobs["podSelector"]["matchExpressions"]
    assert labels["app.kubernetes.io/component"] in expression["values"]
    assert jobs["podSelector"]["matchLabels"].items() <= labels.items()


def test_placement_labels_and_annotations_reach_the_pods() -> None:
    manifests = render(TOGGLES["placement"])
    for item, values in (
        (manifests.of("Deployment"), TOGGLES["placement"]["mlflow"]),
        (manifests.of("Job", "apply"), TOGGLES["placement"]["jobs"]),
        (manifests.of("Job", "buckets"), TOGGLES["placement"]["jobs"]),
    ):
        template = item["spec"]["template"]
        for name in ("nodeSelector", "tolerations", "affinity"):
            assert template["spec"][name] == values[name]
        assert values["podLabels"].items() <= template["metadata"]["labels"].items()
        assert values["podAnnotations"].items() <= template["metadata"]["annotations"].items()
    accounts = {item["metadata"]["name"]: item["metadata"] for item in manifests if item["kind"] == "ServiceAccount"}
    assert accounts["vigil"]["annotations"] == {"team": "vision"}


def test_changed_keys_and_certificates_restart_the_tracking_server() -> None:
    def annotations(values: Any) -> Any:
        return render(values).of("Deployment")["spec"]["template"]["metadata"]["annotations"]

    created = TOGGLES["created secret"]
    assert annotations(created) == annotations(created)
    assert annotations(created) != annotations(merged(created, {"s3": {"secretAccessKey": "another"}}))
    other = CERTIFICATE.replace("MIIB", "MIIC")
    assert annotations(TOGGLES["own authority"]) != annotations({"ca": {"certificates": other}})
