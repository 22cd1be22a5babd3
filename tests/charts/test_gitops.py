"""The examples for Argo CD and Flux: their values make a release, their hooks are those that the tools know."""

import json
from typing import Any

import pytest
import yaml
from typer.main import get_command

from pipelines.cli import app
from tests.charts.helm import CHART, render
from tests.charts.test_manifests import _newest_versions, _validate

pytestmark = pytest.mark.chart

EXAMPLES = CHART.parent / "examples"
HELM_HOOKS = {"post-install", "post-upgrade", "pre-delete", "post-rollback", "test"}
"""Of helm's hooks, those that the chart has. Argo CD takes the first three, and leaves out rollback and test."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((EXAMPLES / name).read_text(encoding="utf-8")))


@pytest.mark.parametrize("tool", ["argocd", "flux"])
def test_values_of_the_examples_install_the_chart_with_the_line(tool: str) -> None:
    if tool == "argocd":
        (application,) = documents("argocd/application.yaml")
        source = application["spec"]["source"]
        values = source["helm"]["valuesObject"]
        assert (EXAMPLES.parents[1] / source["path"]).samefile(CHART)
    else:
        values = documents("flux/release.yaml")[1]["spec"]["values"]
    manifests = render(values)
    assert list(manifests.of("ConfigMap", "vigil-lines")["data"]) == ["transistor.yaml"]
    assert manifests.of("Job", "-schedule-apply")
    hooks = {
        hook
        for item in manifests
        for hook in item["metadata"].get("annotations", {}).get("helm.sh/hook", "").split(",")
        if hook
    }
    assert hooks == HELM_HOOKS


def test_sync_hook_is_a_job_that_kubernetes_and_the_command_line_take() -> None:
    (job,) = documents("argocd/sync-hook.yaml")
    annotations = job["metadata"]["annotations"]
    assert annotations["argocd.argoproj.io/hook"] == "PostSync"
    assert annotations["argocd.argoproj.io/hook-delete-policy"] == "BeforeHookCreation"
    for version in _newest_versions():
        _validate(json.dumps(job, sort_keys=True), version)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["vigil", "schedule", "apply"]
    command: Any = get_command(app)
    known = {option for option in command.commands["schedule"].commands["apply"].params for option in option.opts}
    assert {argument for argument in container["args"] if argument.startswith("--")} <= known
