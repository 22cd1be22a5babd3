"""The schedule jobs as rendered, against a fake Kubeflow Pipelines API: what they do, and may do."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from components import __version__
from tests.charts.containers import command, run, variables
from tests.charts.helm import NAMESPACE, Manifests, merged, render
from tests.charts.toggles import LINE
from tests.pipelines.kfp_api import KfpApi, serve

pytestmark = pytest.mark.chart

_TOKEN = "token-of-the-schedule-job"
_RESOURCES = {"recurringruns": "jobs", "pipelines": "pipelines", "experiments": "experiments"}


@pytest.fixture
def multi_user() -> Iterator[KfpApi]:
    health = {"commit_sha": "0", "tag_name": "2.17.0", "multi_user": True}
    with serve(KfpApi(health=health, namespaces=(NAMESPACE,), token=_TOKEN)) as api:
        yield api


@pytest.fixture
def single_user() -> Iterator[KfpApi]:
    with serve(KfpApi()) as api:
        yield api


def _values(api: KfpApi, lines: Mapping[str, Any], **kfp: Any) -> dict[str, Any]:
    return {"kfp": {"endpoint": api.url, **kfp}, "lines": dict(lines)}


def _mounted(manifests: Manifests, pod: Mapping[str, Any], folder: Path) -> dict[str, Path]:
    """The pod's ConfigMaps and its token as files, by the path in the pod."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    places = {}
    for mount in pod["containers"][0]["volumeMounts"]:
        place = folder / mount["mountPath"].strip("/")
        place.mkdir(parents=True)
        volume = volumes[mount["name"]]
        files = manifests.of("ConfigMap", volume["configMap"]["name"])["data"] if "configMap" in volume else {}
        if "projected" in volume:
            files = {source["serviceAccountToken"]["path"]: _TOKEN for source in volume["projected"]["sources"]}
        for name, text in files.items():
            (place / name).write_text(text, encoding="utf-8")
        places[mount["mountPath"]] = place
    return places


def _at_home(text: str, places: Mapping[str, Path]) -> str:
    for path in sorted(places, key=len, reverse=True):
        if text == path or text.startswith(f"{path}/"):
            return f"{places[path]}{text.removeprefix(path)}"
    return text


def _run_job(manifests: Manifests, suffix: str, folder: Path) -> str:
    """Run a job's command with its files and its environment, and return what it printed."""
    pod = manifests.of("Job", suffix)["spec"]["template"]["spec"]
    folder.mkdir()
    places = _mounted(manifests, pod, folder)
    (container,) = pod["containers"]
    own = {name: _at_home(text, places) for name, text in variables(container, manifests).items()}
    done = run([_at_home(text, places) for text in command(container)], own, folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _recurring_runs(api: KfpApi) -> dict[str, str]:
    return {run["display_name"]: run["trigger"]["cron_schedule"]["cron"] for run in api.items["recurringruns"]}


def test_install_upgrade_and_uninstall_keep_the_schedules_equal_to_the_values(
    single_user: KfpApi, tmp_path: Path
) -> None:
    lines = {"bolts": LINE, "nuts": LINE}
    _run_job(render(_values(single_user, lines)), "apply", tmp_path / "install")
    assert _recurring_runs(single_user) == {"bolts": "0 0 2 * * *", "nuts": "0 0 2 * * *"}

    single_user.changes.clear()
    assert "2 unchanged" in _run_job(render(_values(single_user, lines)), "apply", tmp_path / "again")
    assert single_user.changes == []

    later = {"nuts": merged(LINE, {"schedule": {"cron": "0 30 4 * * *"}})}
    upgraded = render(_values(single_user, later))
    _run_job(upgraded, "apply", tmp_path / "upgrade")
    assert _recurring_runs(single_user) == {"nuts": "0 30 4 * * *"}

    _run_job(upgraded, "remove", tmp_path / "uninstall")
    assert _recurring_runs(single_user) == {}


def test_release_without_lines_removes_their_schedules(single_user: KfpApi, tmp_path: Path) -> None:
    _run_job(render(_values(single_user, {"bolts": LINE})), "apply", tmp_path / "install")
    assert set(_recurring_runs(single_user)) == {"bolts"}
    _run_job(render(_values(single_user, {})), "apply", tmp_path / "upgrade")
    assert _recurring_runs(single_user) == {}


def test_shared_scheduler_keeps_the_schedules_of_others(single_user: KfpApi, tmp_path: Path) -> None:
    _run_job(render(_values(single_user, {"bolts": LINE})), "apply", tmp_path / "first")
    second = merged(_values(single_user, {"nuts": LINE}), {"schedule": {"prune": False}})
    _run_job(render(second), "apply", tmp_path / "second")
    assert set(_recurring_runs(single_user)) == {"bolts", "nuts"}


def test_registry_of_the_values_is_that_of_the_tasks_images(single_user: KfpApi, tmp_path: Path) -> None:
    values = merged(_values(single_user, {"bolts": LINE}), {"image": {"registry": "images.example/vision"}})
    _run_job(render(values), "apply", tmp_path / "install")
    (package,) = single_user.packages.values()
    executors = package["deploymentSpec"]["executors"].values()
    images = {executor["container"]["image"] for executor in executors if "container" in executor}
    assert images == {
        f"images.example/vision/vigil-python-{kind}:{__version__}" for kind in ("generation", "detection")
    }


def _asked(calls: list[str]) -> set[tuple[str, str]]:
    """Resource and verb that Kubeflow Pipelines asks Kubernetes about for each call."""
    asked = set()
    for call in calls:
        method, path = call.split()[:2]
        found = re.fullmatch(r"/apis/v2beta1/(\w+)(?:/[^/:?]+)?(?:/versions|:(\w+))?(?:\?.*)?", path)
        if path.endswith("/healthz"):
            continue
        assert found is not None, call
        kind, action = found.groups()
        verb = {"GET": "list", "POST": "create", "DELETE": "delete"}[method]
        asked.add((_RESOURCES[kind], action or verb))
    return asked


def test_role_allows_what_the_job_asks_for_and_no_more(multi_user: KfpApi, tmp_path: Path) -> None:
    disabled = merged(LINE, {"schedule": {"enabled": False}})
    changed = merged(LINE, {"schedule": {"cron": "0 30 4 * * *"}})
    releases: list[dict[str, Any]] = [{"bolts": LINE, "nuts": LINE}, {"bolts": disabled, "nuts": changed}, {}]
    for step, lines in enumerate(releases):
        manifests = render(_values(multi_user, lines, multiUser=True))
        _run_job(manifests, "apply", tmp_path / f"step-{step}")
    assert _recurring_runs(multi_user) == {}

    rules = manifests.of("Role")["rules"]
    allowed = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    # Creating a recurring run, the server looks for its pipeline on behalf of the caller.
    assert allowed == _asked(multi_user.calls) | {("pipelines", "get")}
