"""The V2 server over HTTP against the Open Inference Protocol's objects, in a process without torch and MLflow."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from components.artifacts import SUMMARY, encode_png, write_json
from components.errors import InputError
from components.serving.protocol import ServedModel
from tests.components.serving.servers import LINE, SIZE, VERSION, V2Server, v2_server, write_brightness_detector

MAX_BYTES = 200_000

TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "shape", "datatype", "data"],
    "properties": {
        "name": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "datatype": {"enum": ["BOOL", "FP32"]},
        "data": {"type": "array", "items": {"type": ["number", "boolean"]}},
    },
}
METADATA_TENSOR: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string"},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": -1}},
    },
}
OBJECTS: dict[str, dict[str, Any]] = {
    "metadata_server_response": {
        "additionalProperties": False,
        "required": ["name", "version", "extensions"],
        "properties": {
            "name": {"type": "string"},
            "version": {"type": "string"},
            "extensions": {"type": "array", "items": {"type": "string"}},
        },
    },
    "metadata_model_response": {
        "additionalProperties": False,
        "required": ["name", "platform", "inputs", "outputs"],
        "properties": {
            "name": {"type": "string"},
            "versions": {"type": "array", "items": {"type": "string"}},
            "platform": {"type": "string", "pattern": "^[a-z]+_[a-z0-9]+$"},
            "inputs": {"type": "array", "items": METADATA_TENSOR},
            "outputs": {"type": "array", "items": METADATA_TENSOR},
        },
    },
    "ready_model_response": {
        "additionalProperties": False,
        "required": ["name", "ready"],
        "properties": {"name": {"type": "string"}, "ready": {"type": "boolean"}},
    },
    "inference_response": {
        "additionalProperties": False,
        "required": ["model_name", "outputs"],
        "properties": {
            "model_name": {"type": "string"},
            "model_version": {"type": "string"},
            "id": {"type": "string"},
            "outputs": {"type": "array", "items": TENSOR},
        },
    },
    "error": {"additionalProperties": False, "required": ["error"], "properties": {"error": {"type": "string"}}},
}
"""The objects of the specification's inference_rest.md, closed: a field that it does not have is an error too."""


def conform(name: str, content: Any) -> None:
    jsonschema.validate(content, {"type": "object", **OBJECTS[name]})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[V2Server]:
    root = tmp_path_factory.mktemp("v2")
    directory = write_brightness_detector(root / "detector")
    with v2_server(directory, root / "log", "--max-bytes", str(MAX_BYTES)) as started:
        yield started


def grey(value: int, size: int = SIZE) -> Any:
    return np.full((size, size, 3), value, dtype=np.uint8)


def files(*values: int, size: int = 12) -> dict[str, Any]:
    texts = [base64.b64encode(encode_png(grey(value, size))).decode() for value in values]
    return {"name": "images", "datatype": "BYTES", "shape": [len(texts)], "data": texts}


def test_health_and_metadata_are_those_of_the_specification(server: V2Server) -> None:
    assert server.call("GET", "/v2/health/live") == (200, {"live": True})
    assert server.call("GET", "/v2/health/ready")[1]["ready"] is True
    for path in ("/v2", "/v2/"):
        status, content = server.call("GET", path)
        assert status == 200
        conform("metadata_server_response", content)
    for version in ("", f"/versions/{VERSION}"):
        conform("ready_model_response", server.call("GET", f"/v2/models/{LINE}{version}/ready")[1])
        status, content = server.call("GET", f"/v2/models/{LINE}{version}")
        assert status == 200
        conform("metadata_model_response", content)
        assert (content["name"], content["versions"]) == (LINE, [VERSION])
        assert [output["name"] for output in content["outputs"]] == ["score", "anomalous", "anomaly_map"]


def test_files_are_scored_and_the_id_comes_back(server: V2Server) -> None:
    status, content = server.infer({"id": "42", "inputs": [files(51, 204)]})
    assert status == 200
    conform("inference_response", content)
    assert (content["model_name"], content["model_version"], content["id"]) == (LINE, VERSION, "42")
    found = {output["name"]: output for output in content["outputs"]}
    assert found["score"]["data"] == pytest.approx([0.2, 0.8], abs=1e-6)
    assert (found["anomalous"]["datatype"], found["anomalous"]["data"]) == ("BOOL", [False, True])
    assert found["anomaly_map"]["shape"] == [2, SIZE, SIZE]
    assert found["anomaly_map"]["data"] == pytest.approx([0.2] * SIZE**2 + [0.8] * SIZE**2, abs=1e-6)


def test_pixels_come_nested_or_flat_and_outputs_are_chosen(server: V2Server) -> None:
    pixels = np.stack([grey(0), grey(255)])
    for data in (pixels.tolist(), pixels.ravel().tolist()):
        tensor = {"name": "images", "datatype": "UINT8", "shape": list(pixels.shape), "data": data}
        status, content = server.infer({"inputs": [tensor], "outputs": [{"name": "score"}]})
        assert status == 200
        assert content["outputs"] == [{"name": "score", "datatype": "FP32", "shape": [2], "data": [0.0, 1.0]}]


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ([], "request: got 'list'"),
        ({}, "inputs: got"),
        ({"inputs": [files(1) | {"name": "pictures"}]}, "inputs: got ['pictures'], expected one object named 'images'"),
        ({"inputs": [files(1) | {"datatype": "FP32"}]}, "datatype: got 'FP32', expected BYTES"),
        ({"inputs": [files(1) | {"shape": [2]}]}, "shape: got [2], expected [1]"),
        ({"inputs": [files(1) | {"shape": "one"}]}, "shape: got 'one', expected a list"),
        ({"inputs": [files(1) | {"data": [7]}]}, "image 0: got 'int', expected base64"),
        ({"inputs": [files(1) | {"data": ["/etc/passwd"]}]}, "image 0: not base64"),
        ({"inputs": [files(1)], "outputs": [{"name": "mask"}]}, "outputs: got 'mask'"),
        ({"inputs": [files(1)], "id": 7}, "id: got 7"),
        ({"inputs": [files(1) | {"datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [1] * 11}]}, "data: got '11 val"),
        ({"inputs": [files(1) | {"datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 300]}]}, "image 0: got va"),
        ({"inputs": [files()]}, "images: got 0, expected 1 to 256"),
    ],
)
def test_what_is_no_request_gets_one_line(server: V2Server, request_: Any, message: str) -> None:
    status, content = server.infer(request_)
    assert status == 400
    conform("error", content)
    assert content["error"].startswith(message)
    assert "\n" not in content["error"]


def test_broken_json_other_models_and_other_methods_are_errors_of_the_client(server: V2Server) -> None:
    infer = f"/v2/models/{LINE}/infer"
    expected = [
        (400, "POST", infer, b"{"),
        (400, "POST", infer, b"[" * 100_000),
        (404, "POST", "/v2/models/nuts/infer", b"{}"),
        (404, "GET", f"/v2/models/{LINE}/versions/4", None),
        (404, "GET", "/v1/models", None),
        (405, "GET", infer, None),
        (413, "POST", infer, b" " * (MAX_BYTES + 1)),
    ]
    for status, method, path, body in expected:
        found, content = server.call(method, path, body)
        assert found == status, (method, path)
        conform("error", content)
    assert "Traceback" not in server.log.read_text(encoding="utf-8")
    assert server.infer({"inputs": [files(1)]})[0] == 200


def test_a_checkpoint_without_an_export_is_refused(tmp_path: Path) -> None:
    directory = write_brightness_detector(tmp_path / "detector")
    write_json(directory / SUMMARY, json.loads('{"parity.passed": false}'))
    with pytest.raises(InputError, match=r"registration\.export: onnx makes it"):
        ServedModel.load(directory, LINE)
    with pytest.raises(InputError, match="expected the folder of a detector artifact"):
        ServedModel.load(tmp_path, LINE)
