"""Latency and throughput of a served detector on one core: the V2 server beside MLflow's own, in one run.

Both serve the same PatchCore as an ONNX export, and are asked for the same images by one client and by four at once.
Run it from the project's folder: `python -m tests.benchmarks.served_model --size 256 --requests 200`.
"""

import argparse
import base64
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.artifacts import ImageSet, encode_png
from components.dataset.config import Config as IngestionConfig
from components.dataset.ingest import ingest_dataset
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.evaluation.config import Config as EvaluationConfig
from components.evaluation.evaluate import evaluate_detectors
from components.registration.config import Config
from components.registration.register import register_best
from components.tracking.run import stage_run
from pipelines.lines.demo import write_demo_line
from tests.components.serving.servers import LINE, v2_server
from tests.ports import free_ports

CLIENTS = 4
Ask = Callable[[bytes], float]
"""Sends an image, and returns its score."""


def main() -> None:
    """Train, register, serve both ways, and print a table and its ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=256, help="pixels of an image's side")
    parser.add_argument("--requests", type=int, default=200)
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        os.environ |= {"MLFLOW_TRACKING_URI": f"sqlite:///{root}/mlflow.db", "VIGIL_RUN_ID": "r1"}
        images = registered(root, given.size)
        with v2_server(root / "best", root / "v2.log") as server:
            v2 = figures(lambda image: ask_v2(server.port, image), images, given.requests)
        with mlflow_scoring(root) as port:
            own = figures(lambda image: ask_mlflow(port, image), images, given.requests)
    print(f"one core, {given.size} pixels, {given.requests} requests")
    for name, (median, tail, rate) in (("V2 server", v2), ("MLflow's server", own)):
        times = f"median {median * 1e3:7.1f} ms  p95 {tail * 1e3:7.1f} ms"
        print(f"{name:16} {times}  {rate:6.2f} images/s, {CLIENTS} clients")
    print(f"MLflow's / V2: latency {own[0] / v2[0]:.2f}, throughput {own[2] / v2[2]:.2f}")


def registered(root: Path, size: int) -> list[bytes]:
    """Register a detector with an export; returns the images of the test split as files."""
    data = write_demo_line(root / "demo").parent / "brick"
    reference, detector, predictions = (str(root / name) for name in ("reference", "detector", "predictions"))
    ingest_dataset(reference, IngestionConfig(uri=str(data), shots=2, image_size=size))
    train_detector(reference, reference, reference, detector, DetectorConfig())
    evaluate_detectors(reference, [detector], predictions, EvaluationConfig(latency_images=2))
    with stage_run(LINE, "registration") as run:
        register_best(LINE, reference, [detector], predictions, root / "best", Config(export="onnx"), run)
    found = ImageSet(reference)
    return [encode_png(found.image(id)) for id in found.ids("test")]


def figures(ask: Ask, images: Sequence[bytes], requests: int) -> tuple[float, float, float]:
    """Median and 95th percentile of one client's seconds, and images a second of four clients."""
    ask(images[0])
    seconds = []
    for index in range(requests):
        started = time.perf_counter()
        ask(images[index % len(images)])
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as clients:
        list(clients.map(ask, [images[index % len(images)] for index in range(requests)]))
    rate = requests / (time.perf_counter() - started)
    return statistics.median(seconds), sorted(seconds)[int(0.95 * len(seconds))], rate


def ask_v2(port: int, image: bytes) -> float:
    """Ask the V2 server for the score alone."""
    tensor = {"name": "images", "datatype": "BYTES", "shape": [1], "data": [base64.b64encode(image).decode()]}
    found = posted(port, f"/v2/models/{LINE}/infer", {"inputs": [tensor], "outputs": [{"name": "score"}]})
    return float(found["outputs"][0]["data"][0])


def ask_mlflow(port: int, image: bytes) -> float:
    """Ask MLflow's server for the score alone."""
    body = {"inputs": [base64.b64encode(image).decode()], "params": {"maps": False}}
    return float(posted(port, "/invocations", body)["predictions"]["score"][0])


def posted(port: int, path: str, content: object) -> dict[str, Any]:
    """JSON of the answer to a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", path, json.dumps(content), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text[:300]
        return dict(json.loads(text))
    finally:
        connection.close()


@contextmanager
def mlflow_scoring(root: Path) -> Iterator[int]:
    """MLflow's scoring server of the registered model, with one worker."""
    (port,) = free_ports(1)
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", f"models:/{LINE}/1", "--env-manager", "local"]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (root / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    try:
        wait_until_up(port, process)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def wait_until_up(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Wait until MLflow's server answers its ping."""
    while process.poll() is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/ping")
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.3)
        finally:
            connection.close()
    raise RuntimeError("MLflow's scoring server ended")


if __name__ == "__main__":
    main()
