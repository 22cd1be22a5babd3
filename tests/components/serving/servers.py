"""The V2 server in a process of its own, without torch, on a detector's artifact."""

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.artifacts import CONFIG, ONNX_MODEL, SUMMARY, write_json
from tests.ports import free_ports

LINE, VERSION = "bolts", "3"
SIZE, THRESHOLD = 8, 0.5
START_SECONDS = 60
HEAVY = ("anomalib", "kfp", "minio", "mlflow", "pandas", "pydantic", "torch", "typer")
"""What the image of the server does not have."""
MAIN = f"""
import sys
for name in {HEAVY}:
    sys.modules[name] = None
from components.serving.__main__ import main
main()
"""


@dataclass(frozen=True)
class V2Server:
    """Where a server listens, and the file of its log."""

    port: int
    log: Path

    def call(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

    def infer(self, request: object) -> tuple[int, Any]:
        """Status and JSON of the answer to a request for the line."""
        return self.call("POST", f"/v2/models/{LINE}/infer", json.dumps(request).encode())


@contextmanager
def v2_server(directory: Path, log: Path, *options: str) -> Iterator[V2Server]:
    """A server of a detector's artifact, as its image starts it."""
    (port,) = free_ports(1)
    given = ["--model-dir", str(directory), "--model-name", LINE, "--model-version", VERSION, "--port", str(port)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *given, *options],
            stdout=file,
            stderr=file,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
    server = V2Server(port=port, log=log)
    try:
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(30)


def _wait(server: V2Server, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.call("GET", "/v2/health/ready")[0] == 200:
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(server.log.read_text(encoding="utf-8")[-2000:])


def write_brightness_detector(directory: Path) -> Path:
    """An artifact whose score is the mean of an image's values, and whose map is the mean of its channels."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    directory.mkdir(parents=True)
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, [1])
    maps = helper.make_tensor_value_info("anomaly_map", TensorProto.FLOAT, [1, SIZE, SIZE])
    axes = {"all": [1, 2, 3], "channels": [1]}
    nodes = [
        helper.make_node("ReduceMean", ["images", "all"], ["score"], keepdims=0),
        helper.make_node("ReduceMean", ["images", "channels"], ["anomaly_map"], keepdims=0),
    ]
    import numpy as np

    constants = [numpy_helper.from_array(np.array(values, dtype=np.int64), name) for name, values in axes.items()]
    graph = helper.make_graph(nodes, "brightness", [images], [score, maps], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, str(directory / ONNX_MODEL))
    write_json(directory / CONFIG, {"image_size": SIZE, "threshold": {"value": THRESHOLD}})
    write_json(directory / SUMMARY, {"parity.passed": True})
    return directory
