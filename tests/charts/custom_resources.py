"""Kinds of KServe and of the Prometheus Operator: what their definitions say of the fields that the chart writes.

Closed schemas: a field that is not among them is an error. Sources: the custom resource definitions of kserve/kserve
(serving.kserve.io) and prometheus-operator/prometheus-operator (monitoring.coreos.com).
"""

from collections.abc import Mapping
from typing import Any

import jsonschema

TEXT: dict[str, Any] = {"type": "string"}
TEXTS: dict[str, Any] = {"type": "object", "additionalProperties": TEXT}
WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": required, "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": items}


_CONTAINER = _object(
    ["name", "image"],
    **dict.fromkeys(("name", "image", "imagePullPolicy"), TEXT),
    command=_list(TEXT),
    args=_list(TEXT),
    ports=_list(_object(["containerPort"], containerPort=WHOLE, protocol={"enum": ["TCP"]})),
    readinessProbe={"type": "object"},
    resources={"type": "object"},
    securityContext={"type": "object"},
    volumeMounts=_list({"type": "object", "required": ["name", "mountPath"]}),
)
_SPECS: Mapping[str, dict[str, Any]] = {
    "ServingRuntime": _object(
        ["supportedModelFormats", "containers"],
        supportedModelFormats=_list(_object(["name"], name=TEXT, version=TEXT)),
        protocolVersions=_list({"enum": ["v1", "v2"]}),
        imagePullSecrets=_list(_object(["name"], name=TEXT)),
        volumes=_list({"type": "object", "required": ["name"]}),
        containers=_list(_CONTAINER),
    ),
    "InferenceService": _object(
        ["predictor"],
        predictor=_object(
            ["model"],
            minReplicas=WHOLE,
            maxReplicas=WHOLE,
            canaryTrafficPercent={"type": "integer", "minimum": 0, "maximum": 100},
            serviceAccountName=TEXT,
            model=_object(
                ["modelFormat", "storageUri"],
                modelFormat=_object(["name"], name=TEXT),
                protocolVersion={"enum": ["v1", "v2"]},
                runtime=TEXT,
                storageUri={"type": "string", "pattern": "^(s3|gs|pvc|file)://"},
                args=_list(TEXT),
            ),
        ),
    ),
    "ServiceMonitor": _object(
        ["selector", "endpoints"],
        selector=_object(["matchLabels"], matchLabels=TEXTS),
        endpoints=_list(_object(["port"], port=TEXT, path=TEXT, interval=TEXT)),
    ),
    "PrometheusRule": _object(
        ["groups"],
        groups=_list(
            _object(
                ["name", "rules"],
                name=TEXT,
                rules=_list(
                    _object(
                        ["alert", "expr"],
                        alert=TEXT,
                        expr={"anyOf": [TEXT, {"type": "integer"}]},
                        **{"for": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$"}},
                        labels=TEXTS,
                        annotations=TEXTS,
                    )
                ),
            )
        ),
    ),
}
CUSTOM = ("serving.kserve.io/v1alpha1", "serving.kserve.io/v1beta1", "monitoring.coreos.com/v1")
"""API versions of custom resources."""


def check_custom(item: Mapping[str, Any]) -> None:
    """Raise jsonschema's error for an object that its definition would refuse; an unknown kind is a `KeyError`."""
    metadata = _object(["name", "labels"], name=TEXT, labels=TEXTS, annotations=TEXTS)
    whole = _object(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion=TEXT,
        kind=TEXT,
        metadata=metadata,
        spec=_SPECS[item["kind"]],
    )
    jsonschema.validate(dict(item), whole)
