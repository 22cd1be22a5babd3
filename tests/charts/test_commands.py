"""What the pods run: our command line knows its commands, and the tracking server is started as rendered."""

import http.client
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from components.storage import s3
from pipelines.cli import app
from tests.charts.containers import SECONDS, command, environment, program, run, variables
from tests.charts.helm import BASE, Manifests, merged, render
from tests.charts.toggles import TOGGLES
from tests.ports import free_ports
from tests.s3_server import S3Server, use_store

pytestmark = pytest.mark.chart


def _parse(arguments: list[str]) -> str:
    """Name of the command that would run with these arguments; wrong ones raise a usage error."""
    parser, context, rest = get_command(app), None, arguments
    while True:
        context = parser.make_context(parser.name, list(rest), parent=context)
        if not hasattr(parser, "resolve_command"):
            return str(context.command_path)
        _, parser, rest = parser.resolve_command(context, [*context._protected_args, *context.args])


@pytest.mark.parametrize("toggle", ["defaults", "multi-user", "more buckets", "shared scheduler", "one line"])
def test_command_line_knows_the_jobs_commands(toggle: str) -> None:
    containers = [container for pod in render(TOGGLES[toggle]).pod_specs() for container in pod["containers"]]
    commands = [command(container) for container in containers if container["command"][0] == "vigil"]
    assert len(commands) >= 2
    assert {_parse(arguments[1:]) for arguments in commands} == {"buckets create", "schedule apply", "doctor"}


def test_parser_refuses_what_the_command_line_does_not_know() -> None:
    for wrong in (["buckets", "make"], ["schedule", "apply", "/lines", "--purge"], ["schedule", "apply"]):
        with pytest.raises(Exception, match=r"No such|Missing"):
            _parse(wrong)


@pytest.mark.s3
def test_buckets_job_creates_buckets_and_can_be_repeated(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"s3": {"endpoint": s3_server.endpoint}, "mlflow": {"artifacts": "s3://chart-job/mlflow"}}
    manifests = render(values)
    (container,) = manifests.of("Job", "buckets")["spec"]["template"]["spec"]["containers"]
    for state in ("created", "exists"):
        done = run(command(container), variables(container, manifests), tmp_path)
        assert (done.returncode, done.stdout) == (0, f"s3://chart-job: {state}\n"), done.stderr
    use_store(monkeypatch, s3_server.endpoint)
    assert not s3.create_bucket("chart-job")


class Server(NamedTuple):
    """A tracking server, started as the chart renders it."""

    port: int
    manifests: Manifests

    def status(self, path: str, host: str, origin: str = "") -> int:
        """Status of a request with a Host header, and with the Origin header of a browser's page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        headers = {"Host": host, "Content-Type": "application/json"} | ({"Origin": origin} if origin else {})
        method, body = ("POST", '{"max_results": 1}') if origin else ("GET", None)
        try:
            connection.request(method, path, body, headers)
            return connection.getresponse().status
        finally:
            connection.close()


def _wait(server: Server, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if server.status("/health", "10.0.0.7:5000") == 200:
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"the tracking server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def _at_home(texts: list[str], folder: Path, port: int) -> list[str]:
    """A container's texts with this machine's folder, interface and port."""
    replaced = {"/mlflow/mlflow.db": f"{folder}/mlflow.db", "--host=0.0.0.0": "--host=127.0.0.1"}
    replaced["--port=5000"] = f"--port={port}"
    for old, new in replaced.items():
        texts = [text.replace(old, new) for text in texts]
    return texts


@pytest.fixture(scope="module")
def tracking_server(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    pytest.importorskip("boto3", reason="MLflow's S3 artifacts need boto3: install requirements/chart.txt")
    folder, port = tmp_path_factory.mktemp("tracking"), free_ports(1)[0]
    values: dict[str, Any] = {"s3": {"endpoint": s3_server.endpoint}, "mlflow": {"artifacts": "s3://lines/tracking"}}
    manifests = render(merged(TOGGLES["ingress"], values), base=BASE)
    pod = manifests.of("Deployment")["spec"]["template"]["spec"]
    (schema,), (container,) = pod["initContainers"], pod["containers"]
    own = variables(container, manifests)
    own = dict(zip(own, _at_home(list(own.values()), folder, port), strict=True))
    for _ in range(2):
        done = run(command(schema), own, folder)
        assert done.returncode == 0, done.stderr
    assert (folder / "mlflow.db").is_file()
    name, *arguments = _at_home(command(container), folder, port)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program(name), *arguments],
            cwd=folder,
            env=environment(own, folder),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(port=port, manifests=manifests)
    try:
        _wait(server, process, log)
        yield server
    finally:
        os.killpg(process.pid, 9)
        process.wait()


_SEARCH = "/api/2.0/mlflow/experiments/search"


@pytest.mark.s3
def test_probes_are_answered_whatever_the_host(tracking_server: Server) -> None:
    (container,) = tracking_server.manifests.of("Deployment")["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert tracking_server.status(container[probe]["httpGet"]["path"], "10.1.2.3:5000") == 200


@pytest.mark.s3
@pytest.mark.parametrize(
    "host",
    [
        "vigil-mlflow",
        "vigil-mlflow:5000",
        "vigil-mlflow.inspection.svc:5000",
        "vigil-mlflow.inspection.svc.cluster.local",
        "mlflow.example",
        "localhost:8080",
    ],
)
def test_own_host_names_are_answered(tracking_server: Server, host: str) -> None:
    assert tracking_server.status(f"{_SEARCH}?max_results=1", host) == 200


@pytest.mark.s3
@pytest.mark.parametrize(
    "host", ["attacker.example", "vigil-mlflow:80", "vigil-mlflow.other.svc:5000", "10.0.0.7:5000"]
)
def test_other_host_names_are_refused(tracking_server: Server, host: str) -> None:
    assert tracking_server.status(f"{_SEARCH}?max_results=1", host) == 403


@pytest.mark.s3
def test_pages_of_the_ingress_may_write_and_others_may_not(tracking_server: Server) -> None:
    host = "mlflow.example"
    assert tracking_server.status(_SEARCH, host, origin="http://mlflow.example") == 200
    assert tracking_server.status(_SEARCH, host, origin="https://attacker.example") == 403


@pytest.mark.s3
def test_run_and_artifact_go_through_the_server_into_the_object_store(
    tracking_server: Server, s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    file = tmp_path / "report.html"
    file.write_text("<p>report</p>")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    client = MlflowClient(f"http://localhost:{tracking_server.port}")
    run = client.create_run(client.create_experiment("metal-nut")).info
    client.log_metric(run.run_id, "image_auroc", 0.9)
    client.log_artifact(run.run_id, str(file))
    assert client.get_run(run.run_id).data.metrics == {"image_auroc": 0.9}

    use_store(monkeypatch, s3_server.endpoint)
    stored = [item.name for item in s3.list_objects("s3://lines/tracking")]
    assert stored == [f"{run.experiment_id}/{run.run_id}/artifacts/report.html"]
