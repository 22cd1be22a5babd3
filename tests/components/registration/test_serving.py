"""MLflow's scoring server on a registered detector: the run's scores, and one line for what is no request.

`VIGIL_TEST_DATA` names a class folder in the MVTec layout whose images replace the demo line's photographs.
"""

import base64
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import PREDICTIONS, SUMMARY, ImageSet, encode_png, read_table, write_json
from components.dataset.config import Config as IngestionConfig
from components.dataset.ingest import ingest_dataset
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import Detector
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from components.registration.config import Config
from components.registration.export import export_detector
from components.registration.register import register_best
from components.tracking.run import stage_run
from pipelines.lines.demo import write_demo_line
from tests.components.serving.servers import v2_server
from tests.conftest import NewDatabase
from tests.ports import free_ports

pytestmark = pytest.mark.slow

REQUESTS = 100
START_SECONDS = 180
NAME = "served"


@dataclass(frozen=True)
class Server:
    """A scoring server, and the run that made its model."""

    address: str
    root: Path
    data: Path
    process: "subprocess.Popen[bytes]"

    def post(self, body: bytes, content_type: str = "application/json") -> tuple[int, str]:
        """Status and text of the response."""
        request = urllib.request.Request(
            f"{self.address}/invocations", data=body, headers={"Content-Type": content_type}
        )
        try:
            with urllib.request.urlopen(request, timeout=120) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def predict(self, *files: bytes, maps: bool = False) -> dict[str, Any]:
        """Predictions of encoded images."""
        content = {"inputs": [base64.b64encode(file).decode() for file in files], "params": {"maps": maps}}
        status, text = self.post(json.dumps(content).encode())
        assert status == 200, text
        return dict(json.loads(text)["predictions"])


@pytest.fixture(scope="module")
def server(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("serving")
    given = os.environ.get("VIGIL_TEST_DATA")
    data = Path(given) if given else write_demo_line(root / "demo").parent / "brick"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", new_database(root))
        environment.setenv("VIGIL_RUN_ID", "r1")
        register(root, data)
        process, address = start(root)
    try:
        wait_until_up(process, address, root)
        yield Server(address=address, root=root, data=data, process=process)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def register(root: Path, data: Path) -> None:
    """The stages that a registered detector needs, without the generated images."""
    reference, detector, predictions = (str(root / name) for name in ("reference", "detector", "predictions"))
    ingest_dataset(reference, IngestionConfig(uri=str(data), shots=2, image_size=64))
    train_detector(reference, reference, reference, detector, DetectorConfig())
    evaluate_detectors(reference, [detector], predictions, EvaluationConfig())
    with stage_run(NAME, "registration") as run:
        register_best(NAME, reference, [detector], predictions, root / "best", Config(), run)


def start(root: Path) -> "tuple[subprocess.Popen[bytes], str]":
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}/1", "--env-manager", "local"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (root / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=root,
            env={**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true"},
        )
    return process, f"http://127.0.0.1:{port}"


def wait_until_up(process: "subprocess.Popen[bytes]", address: str, root: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{address}/ping", timeout=5):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail((root / "server.log").read_text(encoding="utf-8", errors="replace")[-2000:])


def png_header(width: int, height: int) -> bytes:
    """A PNG file of a few bytes that declares any size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def inputs(*items: Any) -> bytes:
    return json.dumps({"inputs": list(items)}).encode()


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_a_hundred_requests_give_the_runs_scores(server: Server) -> None:
    images = ImageSet(server.root / "reference")
    table = read_table(server.root / "predictions" / PREDICTIONS).merge(images.manifest, on="id")
    threshold = Detector(server.root / "best").threshold.value
    for index in range(REQUESTS):
        row = table.iloc[index % len(table)]
        found = server.predict((server.data / row["source"]).read_bytes())
        assert found["score"] == pytest.approx([row["score"]], abs=1e-4), row["id"]
        assert found["anomalous"] == [bool(row["score"] > threshold)]
        assert set(found) == {"score", "anomalous"}


def test_a_hundred_images_by_kserves_protocol_give_the_runs_scores(server: Server, tmp_path: Path) -> None:
    """The V2 server, in a process without torch, on the same detector as an export."""
    detector = Path(shutil.copytree(server.root / "best", tmp_path / "detector"))
    parity = export_detector(detector, server.root / "reference", Config(export="onnx"))
    write_json(detector / SUMMARY, parity)
    table = read_table(server.root / "predictions" / PREDICTIONS).merge(
        ImageSet(server.root / "reference").manifest, on="id"
    )
    with v2_server(detector, tmp_path / "log") as served:
        for index in range(REQUESTS):
            row = table.iloc[index % len(table)]
            image = encoded((server.data / row["source"]).read_bytes())
            tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [image]}
            status, found = served.infer({"inputs": [tensor], "outputs": [{"name": "score"}]})
            assert status == 200
            assert found["outputs"][0]["data"] == pytest.approx([row["score"]], abs=1e-4), row["id"]


def test_arrays_and_maps_are_served(server: Server) -> None:
    images = ImageSet(server.root / "reference")
    ids = images.ids("test")[:2]
    status, text = server.post(inputs(*(images.image(id).tolist() for id in ids)))
    assert status == 200
    found = json.loads(text)["predictions"]
    scores, maps = Detector(server.root / "best").predict(images.tensor(ids))
    assert found["score"] == pytest.approx(scores.tolist(), abs=1e-4)
    assert found["anomaly_map"][1][5] == pytest.approx(maps[1][5].tolist(), abs=1e-4)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (encoded(b"a text file, no image"), "image 0: not an image, expected PNG, JPEG, BMP, TIFF, WEBP"),
        ("/etc/passwd", "image 0: not base64 (Incorrect padding), expected an encoded image as base64 text"),
        (encoded(png_header(10_000, 10_000)), "image 0: size is 10000x10000, expected at most 64 megapixels"),
        (encoded(png_header(60_000, 60_000)), "image 0: too large"),
        (encoded(png_header(64, 64)), "image 0: damaged"),
        ([[1, 2, 3]], "image 0: got shape [1, 3], expected [height, width, 3]"),
        ([[[1, 2, 300]]], "image 0: got values from 1 to 300, expected 0 to 255"),
    ],
    ids=["text", "path", "100-megapixels", "bomb", "no-pixels", "shape", "values"],
)
def test_what_is_no_image_gets_one_line(server: Server, item: Any, message: str) -> None:
    status, text = server.post(inputs(item))
    answer = json.loads(text)
    assert status == 400
    assert answer["error_code"] == "INVALID_PARAMETER_VALUE"
    assert answer["message"].startswith(message)
    assert len(answer["message"].splitlines()) == len(text.splitlines()) == 1
    assert set(answer) == {"error_code", "message"}


def test_giant_request_is_refused_in_one_line(server: Server) -> None:
    status, text = server.post(inputs(*["A" * 1000] * 50_000))
    assert (status, json.loads(text)["message"]) == (400, "images: got 50000, expected 1 to 256 in a request")
    assert server.predict(a_good_image(server))["score"]


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"", "application/json", 400),
        (b"a text file", "application/json", 400),
        (b"a text file", "text/plain", 415),
        (b"{}", "application/json", 400),
        (inputs({"image": "AAAA"}), "application/json", 400),
        (json.dumps({"inputs": ["AAAA"], "params": {"maps": "perhaps"}}).encode(), "application/json", 400),
    ],
    ids=["empty", "text", "content-type", "no-inputs", "objects", "params"],
)
def test_mlflows_own_refusals_are_client_errors_without_a_trace(
    server: Server, body: bytes, content_type: str, status: int
) -> None:
    received, text = server.post(body, content_type)
    assert received == status
    assert len(text.splitlines()) == 1
    assert "Traceback" not in text


def test_server_lives_on_and_logs_no_trace(server: Server) -> None:
    assert server.process.poll() is None
    assert len(server.predict(a_good_image(server), a_good_image(server))["score"]) == 2
    assert "Traceback" not in (server.root / "server.log").read_text(encoding="utf-8", errors="replace")


def a_good_image(server: Server) -> bytes:
    images = ImageSet(server.root / "reference")
    return encode_png(images.image(images.ids("test", "good")[0]))
