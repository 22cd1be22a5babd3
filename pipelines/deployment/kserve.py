"""KServe's InferenceService of a line's detector; the chart renders the same of its values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.registry.deployable import Deployable

MODEL_FORMAT = "vigil-detector"
"""What the chart's ServingRuntime runs."""
COLLECTION = "/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How a detector is served."""

    runtime: str = "vigil-serving"
    """Name of the ServingRuntime."""
    min_replicas: int = 0
    """0 scales to zero."""
    max_replicas: int = 3
    service_account: str = ""
    """With the object store's keys, for KServe's storage initializer; empty for the namespace's own."""
    canary_percent: int = 0
    """Share of the requests that goes to this version, the rest to the one before; 0 for all."""


def service_name(line: str) -> str:
    """The name of a line as a host: lower case, letters, digits and dashes, a letter first."""
    name = re.sub(r"[^a-z0-9]+", "-", line.lower()).strip("-")
    return name if name[:1].isalpha() else f"line-{name}"


def inference_service(found: Deployable, serving: Serving) -> Mapping[str, Any]:
    """The InferenceService; a field that is to be taken away where it was is None."""
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": service_name(found.line),
            "labels": {"vigil/line": found.line.rstrip("._-")},
            "annotations": {"vigil/version": found.version},
        },
        "spec": {
            "predictor": {
                "minReplicas": serving.min_replicas,
                "maxReplicas": serving.max_replicas,
                "canaryTrafficPercent": serving.canary_percent or None,
                "serviceAccountName": serving.service_account or None,
                "model": {
                    "modelFormat": {"name": MODEL_FORMAT},
                    "protocolVersion": "v2",
                    "runtime": serving.runtime,
                    "storageUri": found.uri,
                    "args": [f"--model-name={found.line}", f"--model-version={found.version}"],
                },
            }
        },
    }


def chart_values(found: Deployable, serving: Serving) -> Mapping[str, Any]:
    """The same as values of the chart."""
    canary = {"canaryPercent": serving.canary_percent} if serving.canary_percent else {}
    model = {"version": found.version, "storageUri": found.uri, **canary}
    return {"serving": {"models": {found.line: model}}}


def shown(item: Mapping[str, Any]) -> dict[str, Any]:
    """An object without the fields that are None."""
    return {
        key: shown(value) if isinstance(value, Mapping) else value for key, value in item.items() if value is not None
    }
