"""What the configuration of Argo's workflow controller means for failed tasks.

Kubeflow Pipelines gives a task's retries to Argo without a policy (backend/src/v2/compiler/argocompiler/container.go
`getTaskRetryStrategyFromInput`), and the SDK has no word for one. Argo then takes that of the controller's
`templateDefaults` (workflow/controller/operator.go `mergedTemplateDefaultsInto`), or OnFailure. The manifests of
Kubeflow Pipelines 2.17 set OnError, those of 2.15 and 2.16 nothing. A limit there counts for every template without one
of its own, thus for whole loops and the pipeline itself, which would be run again with all that is in them.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from components.errors import InputError

RETRY_DEFAULTS = """\
workflowDefaults: |
  spec:
    templateDefaults:
      retryStrategy:
        limit: '0'
        retryPolicy: Always
"""
"""In the data of the ConfigMap `workflow-controller-configmap`: tasks are started again after every kind of failure."""
_LOST = {
    "OnFailure": "a task whose pod was evicted, deleted or never started is not started again",
    "OnError": "a task that failed, ran out of memory or took too long is not started again",
    "OnTransientError": "a task is started again after errors of the network alone",
}


def retry_policy(data: Mapping[str, str]) -> str:
    """What is wrong with retries by the data of the controller's ConfigMap, in one line; empty where nothing is.

    Raises:
        InputError: the data is not what the controller itself would read.
    """
    strategy = _retry_strategy(data)
    policy = strategy.get("retryPolicy") or ("Always" if strategy.get("expression") else "OnFailure")
    if policy in _LOST:
        return f"retryPolicy {policy}: {_LOST[policy]}"
    if policy != "Always":
        return f"retryPolicy {policy!r} is none of Argo's: no task is started again"
    limit = strategy.get("limit")
    if limit is None and "retryPolicy" in strategy:
        return "retryPolicy Always without a limit: loops and the pipeline itself are started again without end"
    if str(limit) not in ("0", "None"):
        return f"retryPolicy Always with limit {limit}: loops and the pipeline itself are started again, with all tasks"
    return ""


def _retry_strategy(data: Mapping[str, str]) -> dict[str, Any]:
    """Argo's `workflowDefaults.spec.templateDefaults.retryStrategy`: keys of the data, or all in one text `config`."""
    try:
        found: Any = yaml.safe_load(data["config"]) if "config" in data else dict(data)
        for key in ("workflowDefaults", "spec", "templateDefaults", "retryStrategy"):
            found = (found or {}).get(key)
            found = yaml.safe_load(found) if isinstance(found, str) else found
        return dict(found or {})
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        text = " ".join(str(error).split())
        raise InputError(f"workflow-controller-configmap: not what Argo's controller reads: {text}") from error
