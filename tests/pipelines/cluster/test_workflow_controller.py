"""Tests of what a configuration of Argo's controller means for retries."""

from pathlib import Path

import pytest
import yaml

import pipelines
from components.errors import InputError
from pipelines.cluster.workflow_controller import RETRY_DEFAULTS, retry_policy

OF_KUBEFLOW_2_17 = {
    "artifactRepository": "archiveLogs: true\n",
    "workflowDefaults": """\
spec:
  ttlStrategy:
    secondsAfterCompletion: 3600
  templateDefaults:
    retryStrategy:
      limit: '2'
      retryPolicy: OnError
""",
}


def defaults(strategy: str) -> dict[str, str]:
    return {"workflowDefaults": f"spec: {{templateDefaults: {{retryStrategy: {strategy}}}}}"}


def test_documented_defaults_are_right() -> None:
    page = Path(pipelines.__file__).with_name("docs") / "cluster.md"
    assert f"```yaml\n{RETRY_DEFAULTS}```" in page.read_text(encoding="utf-8")
    assert retry_policy(yaml.safe_load(RETRY_DEFAULTS)) == ""
    assert retry_policy({"config": RETRY_DEFAULTS.replace(" |", "")}) == ""


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OF_KUBEFLOW_2_17, "retryPolicy OnError: a task that failed, ran out of memory or took too long"),
        ({"artifactRepository": "archiveLogs: true"}, "retryPolicy OnFailure: a task whose pod was evicted, deleted"),
        ({}, "retryPolicy OnFailure"),
        ({"workflowDefaults": ""}, "retryPolicy OnFailure"),
        ({"config": ""}, "retryPolicy OnFailure"),
        (defaults("{limit: 3}"), "retryPolicy OnFailure"),
        (defaults("{retryPolicy: OnTransientError}"), "retryPolicy OnTransientError"),
        (defaults("{retryPolicy: always, limit: 0}"), "retryPolicy 'always' is none of Argo's"),
        (defaults("{retryPolicy: Always}"), "retryPolicy Always without a limit"),
        (defaults("{retryPolicy: Always, limit: '2'}"), "retryPolicy Always with limit 2"),
        (defaults("{limit: '2', expression: 'true'}"), "retryPolicy Always with limit 2"),
    ],
)
def test_what_is_wrong_is_named(data: dict[str, str], expected: str) -> None:
    assert retry_policy(data).startswith(expected)
    assert "\n" not in retry_policy(data)


@pytest.mark.parametrize("text", ["{", "[1]", "spec: text", "spec: {templateDefaults: [1]}"])
def test_what_the_controller_cannot_read_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="workflow-controller-configmap: not what Argo's controller reads"):
        retry_policy({"workflowDefaults": text})
