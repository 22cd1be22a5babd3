"""What holds for every release: Kubernetes accepts it, restricted pods, short names, secrets in Secrets only."""

import base64
import functools
import json
import re
from typing import Any

import pytest
import yaml

from tests.charts.custom_resources import CUSTOM, check_custom
from tests.charts.helm import BASE, CHART, NAMESPACE, Manifest, Manifests, call, merged, render
from tests.charts.toggles import ACCESS_KEY, LINE, SECRET_KEY, TOGGLES

pytestmark = pytest.mark.chart

_EVERYTHING = functools.reduce(
    merged,
    [TOGGLES[name] for name in ("created secret", "own authority", "multi-user", "ingress", "network policy")],
)

every_toggle = pytest.mark.parametrize("toggle", TOGGLES)


def rendered(toggle: str, release: str = "vigil") -> Manifests:
    return render(TOGGLES[toggle], release=release)


@pytest.mark.parametrize("values", [{}, _EVERYTHING, {"lines": {"metal-nut": LINE}}], ids=["none", "many", "lines"])
def test_lint_finds_nothing(values: dict[str, Any]) -> None:
    done = call("lint", "--strict", values=merged(BASE, values))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 chart(s) failed" in done.stdout


@functools.cache
def _newest_versions() -> list[str]:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="install requirements/chart.txt")
    return sorted(set(kubernetes_validate.utils.all_versions()), key=lambda name: [int(n) for n in name.split(".")])[
        -3:
    ]


@functools.cache
def _validate(document: str, version: str) -> None:
    import kubernetes_validate

    item = json.loads(document)
    if item["apiVersion"] in CUSTOM:
        check_custom(item)
    else:
        kubernetes_validate.validate(item, version, strict=True)  # raises for unknown kinds too


@every_toggle
def test_three_newest_kubernetes_accept_every_object(toggle: str) -> None:
    assert len(_newest_versions()) == 3
    for version in _newest_versions():
        for item in rendered(toggle):
            _validate(json.dumps(item, sort_keys=True), version)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [("Deployment", ("spec", "replicas"), "one"), ("Service", ("spec", "targets"), []), ("Job", ("kind",), "Task")],
)
def test_validation_finds_what_is_wrong(kind: str, path: tuple[str, ...], value: object) -> None:
    import kubernetes_validate

    item = render().of(kind, "apply" if kind == "Job" else "")
    below = item
    for key in path[:-1]:
        below = below[key]
    below[path[-1]] = value
    with pytest.raises((kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)):
        _validate(json.dumps(item), _newest_versions()[-1])


def _containers(pod: Manifest) -> list[Manifest]:
    return [*pod.get("initContainers", []), *pod["containers"]]


@every_toggle
def test_pods_keep_to_the_restricted_pod_security_standard(toggle: str) -> None:
    pods = list(rendered(toggle).pod_specs())
    for pod in pods:
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & set(pod)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
        assert all(set(volume) - {"name"} <= allowed for volume in pod["volumes"])
        for container in _containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "hostPort" not in json.dumps(container.get("ports", []))


@every_toggle
def test_pods_get_no_token_of_the_api_server_and_no_service_variables(toggle: str) -> None:
    manifests = rendered(toggle)
    for pod in manifests.pod_specs():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert pod["serviceAccountName"] in manifests.kinds("ServiceAccount")
    for item in manifests:
        if item["kind"] == "ServiceAccount":
            assert item["automountServiceAccountToken"] is False


@every_toggle
def test_pods_state_their_resources_and_can_write_to_tmp(toggle: str) -> None:
    for pod in rendered(toggle).pod_specs():
        assert {"name": "tmp", "emptyDir": {}} in pod["volumes"]
        for container in _containers(pod):
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
            assert set(container["resources"]["requests"]) == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


@every_toggle
def test_pods_mount_volumes_and_read_objects_that_exist(toggle: str) -> None:
    given = {("Secret", name) for name in ("store", "postgres", "mlflow-login")} | {("ConfigMap", "company-ca")}
    manifests = rendered(toggle)
    there = given | {(item["kind"], item["metadata"]["name"]) for item in manifests}
    for pod in manifests.pod_specs():
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        for container in _containers(pod):
            assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
            for variable in container.get("env", []):
                if "valueFrom" in variable:
                    assert ("Secret", variable["valueFrom"]["secretKeyRef"]["name"]) in there
            for source in container.get("envFrom", []):
                kind, key = ("ConfigMap", "configMapRef") if "configMapRef" in source else ("Secret", "secretRef")
                assert (kind, source[key]["name"]) in there
        for volume in volumes.values():
            if "configMap" in volume:
                assert ("ConfigMap", volume["configMap"]["name"]) in there


@every_toggle
def test_no_secret_is_an_argument_of_a_process(toggle: str) -> None:
    for pod in rendered(toggle).pod_specs():
        for container in _containers(pod):
            for variable in (item["name"] for item in container.get("env", []) if "valueFrom" in item):
                assert f"$({variable})" not in json.dumps([container["command"], container["args"]])


@every_toggle
def test_finished_jobs_are_removed_after_a_day(toggle: str) -> None:
    for item in rendered(toggle):
        if item["kind"] == "Job":
            assert item["spec"]["ttlSecondsAfterFinished"] == 86400


@every_toggle
def test_labels_tell_what_an_object_belongs_to(toggle: str) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    for item in rendered(toggle, release="line-3"):
        labels = item["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "vigil"
        assert labels["app.kubernetes.io/instance"] == "line-3"
        assert labels["app.kubernetes.io/managed-by"] == "Helm"
        assert labels["app.kubernetes.io/version"] == version
        assert labels["helm.sh/chart"] == f"vigil-{version}"
        assert labels["app.kubernetes.io/component"]


def _names(manifests: Manifests) -> list[tuple[str, str]]:
    return [(item["kind"], item["metadata"]["name"]) for item in manifests]


_LONG = "a" * 40 + "-line-12"


@pytest.mark.parametrize("values", [_EVERYTHING, merged(_EVERYTHING, TOGGLES["postgresql"])])
@pytest.mark.parametrize("release", ["v", "3rd-plant", "plant.3", _LONG, "a" * 53])
def test_names_fit_whatever_the_release_is_called(values: dict[str, Any], release: str) -> None:
    names = _names(render(values, release=release))
    assert len(names) > 15
    assert len(set(names)) == len(names)
    for kind, name in names:
        assert len(name) <= 63
        assert re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", name), (kind, name)


@pytest.mark.parametrize(
    ("first", "second"), [("plant-1", "plant-2"), (_LONG, _LONG[:-1] + "3"), ("a.b", "a-b"), ("vigil", "vigil-vigil")]
)
def test_two_releases_in_a_namespace_share_no_object(first: str, second: str) -> None:
    names = [set(_names(render(_EVERYTHING, release=release))) for release in (first, second)]
    assert not names[0] & names[1]


def test_selectors_tell_releases_apart() -> None:
    first, second = (render(release=name).of("Service")["spec"]["selector"] for name in ("plant-1", "plant-2"))
    assert first != second


@every_toggle
def test_every_namespaced_reference_stays_in_the_namespace(toggle: str) -> None:
    for item in rendered(toggle):
        assert item["metadata"].get("namespace", NAMESPACE) == NAMESPACE
        assert not item["kind"].startswith("Cluster")


def test_keys_are_in_the_secret_and_nowhere_else() -> None:
    everything = merged(TOGGLES["multi-user"], merged(TOGGLES["endpoint"], TOGGLES["created secret"]))
    manifests = render(everything)
    data = manifests.of("Secret")["data"]
    assert base64.b64decode(data["AWS_ACCESS_KEY_ID"]).decode() == ACCESS_KEY
    assert base64.b64decode(data["AWS_SECRET_ACCESS_KEY"]).decode() == SECRET_KEY
    others = json.dumps([item for item in manifests if item["kind"] != "Secret"])
    for value in (ACCESS_KEY, SECRET_KEY):
        assert value not in others
        assert base64.b64encode(value.encode()).decode() not in others
    notes = call("install", "vigil", "--dry-run=client", "--namespace", NAMESPACE, values=merged(BASE, everything))
    assert notes.returncode == 0, notes.stderr
    assert SECRET_KEY not in notes.stdout.split("NOTES:")[1]
