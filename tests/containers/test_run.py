"""The compiled pipeline in containers: data from S3, MLflow behind its server, results in S3, no secret anywhere."""

import base64
import os
import subprocess
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.artifacts import file_sha256, read_json
from components.stage.images import USER_ID
from components.storage.s3 import fetch_prefix
from pipelines.local.workdir import Workdir
from tests.containers.conftest import (
    IMAGES,
    MAIN,
    MAIN_ASKING_LATE,
    RUN_SECONDS,
    START_SECONDS,
    ContainerRun,
    Docker,
    Services,
    Start,
    image_name,
    stages_started,
)
from tests.s3_server import BUCKET
from tests.stages import STAGES

TIMES = ("latency_ms", "images_per_second")
CHUNK = 1 << 24
SOURCE_TEXT = b"The command line, `vigil`. Exit codes: 0 done"

pytestmark = pytest.mark.container


@pytest.fixture
def connected(services: Services, monkeypatch: pytest.MonkeyPatch) -> Services:
    """The servers, reached from this process."""
    for name, value in services.environment.items():
        monkeypatch.setenv(name, value)
    return services


def test_interruption_is_heeded(interrupted: ContainerRun) -> None:
    assert interrupted.code == 130
    assert "Traceback" not in interrupted.err
    assert stages_started(interrupted.out)[-1] == "vqgan"
    assert not interrupted.workdir.report.exists()


def test_interrupted_run_goes_on_where_it_was(finished: ContainerRun) -> None:
    assert (finished.code, finished.err) == (0, "")
    kept = {"dataset", "defect_synthesis", "prompts", "augmentation"}
    assert sorted(stages_started(finished.out)) == sorted(set(STAGES) - kept)
    assert f"report: {finished.workdir.report}" in finished.out


def test_no_container_is_left(docker: Docker, finished: ContainerRun) -> None:
    assert docker("ps", "--all", "--quiet", "--filter", "label=vigil.run") == ""


def test_containers_were_restricted(finished: ContainerRun) -> None:
    assert finished.containers
    for container in finished.containers.values():
        host = container["HostConfig"]
        assert container["Config"]["User"] == f"{USER_ID}:{USER_ID}"
        assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"])
        assert host["SecurityOpt"] == ["no-new-privileges"]


def test_artifacts_were_written_by_the_user_of_the_images(finished: ContainerRun) -> None:
    files = [path for path in finished.workdir.artifacts.glob("*/*/**/*") if path.is_file()]
    assert len(files) > len(STAGES)
    assert {path.stat().st_uid for path in files if ".kfp_cache" not in path.parts} == {USER_ID}


def test_records_are_those_of_a_run_in_processes(
    finished: ContainerRun, line_file: Path, start: Start, tmp_path: Path
) -> None:
    own = Workdir(root=tmp_path / "run")
    process = start("run", line_file, "--workdir", own.root, MLFLOW_TRACKING_URI=own.tracking_uri)
    _, err = process.communicate(timeout=RUN_SECONDS)
    assert (process.returncode, err) == (0, "")
    records = [read_json(workdir.metrics) for workdir in (own, finished.workdir)]
    for record in (record for run in records for record in run):
        assert all(record.pop(name) > 0 for name in TIMES)
    assert records[0] == records[1]


def test_tracking_server_has_the_run_and_proxies_its_artifacts(finished: ContainerRun, connected: Services) -> None:
    client = MlflowClient()
    name = read_json(finished.workdir.root / "vigil.json")["line"]
    experiment = client.get_experiment_by_name(name)
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`vigil.stage` = 'pipeline'")
    assert parent.info.status == "FINISHED"
    assert parent.info.artifact_uri.startswith("mlflow-artifacts:/")
    assert "report.html" in [file.path for file in client.list_artifacts(parent.info.run_id)]
    assert len(client.search_model_versions(f"name = '{name}'")) == 1


def test_results_are_published(finished: ContainerRun, connected: Services, tmp_path: Path) -> None:
    assert f"published: s3://{BUCKET}/results" in finished.out
    fetch_prefix(f"s3://{BUCKET}/results", tmp_path)
    for path in (finished.workdir.report, finished.workdir.metrics):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    index = read_json(tmp_path / "artifacts.json")
    assert any(entry["path"].endswith("/predictions/predictions.parquet") for entry in index)
    for entry in index:
        assert file_sha256(finished.workdir.root / entry["path"]) == entry["sha256"]


def test_second_run_reuses_every_stage(finished: ContainerRun, line_file: Path, start: Start) -> None:
    process = start("run", line_file, "--workdir", finished.workdir.root, "--runner", "docker")
    out, err = process.communicate(timeout=RUN_SECONDS)
    assert (process.returncode, err) == (0, "")
    assert sorted(stages_started(out)) == ["conclusion", "fingerprint"]


@pytest.mark.parametrize("main", [MAIN, MAIN_ASKING_LATE], ids=["at once", "late"])
def test_missing_data_set_is_bad_input(line_file: Path, start: Start, tmp_path: Path, main: str) -> None:
    wrong = tmp_path / "line.yaml"
    wrong.write_text(line_file.read_text().replace("/data/", "/no-such/"))
    process = start("run", wrong, "--workdir", tmp_path / "run", "--runner", "docker", main=main)
    _, err = process.communicate(timeout=RUN_SECONDS)
    assert (process.returncode, err.count("\n")) == (2, 1)
    assert f"s3://{BUCKET}/no-such/" in err


def test_stage_that_is_killed_fails_the_run(docker: Docker, line_file: Path, start: Start, tmp_path: Path) -> None:
    process = start("run", line_file, "--workdir", tmp_path / "run", "--runner", "docker")
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith("vqgan: started"):
            kill_container(docker)
    _, err = process.communicate(timeout=RUN_SECONDS)
    assert (process.returncode, err.count("\n")) == (1, 1)
    assert "task vqgan crashed" in err


def kill_container(docker: Docker) -> None:
    """Kill the container of a run as soon as there is one."""
    deadline = time.monotonic() + START_SECONDS
    while not (running := docker("ps", "--quiet", "--filter", "label=vigil.run").split()):
        assert time.monotonic() < deadline, "no container was started"
        time.sleep(0.2)
    docker("kill", *running)


def test_image_that_is_nowhere_is_bad_input(line_file: Path, start: Start, tmp_path: Path) -> None:
    arguments = ("run", line_file, "--workdir", tmp_path / "run", "--runner", "docker")
    process = start(*arguments, VIGIL_IMAGE_REGISTRY="127.0.0.1:9/nowhere")
    _, err = process.communicate(timeout=RUN_SECONDS)
    assert (process.returncode, err.count("\n")) == (2, 1)
    assert "image 127.0.0.1:9/nowhere/vigil-python-generation" in err


def found(chunks: Iterator[bytes], texts: Iterable[bytes]) -> set[bytes]:
    """Those of the texts that the chunks hold, also across their borders."""
    left, rest = set(texts), b""
    there: set[bytes] = set()
    longest = max(map(len, left))
    for chunk in chunks:
        window = rest + chunk
        there |= {text for text in left - there if text in window}
        rest = window[-longest:]
    return there


def forms(text: str) -> set[bytes]:
    """A text as it is, and the part of its base64 that no neighbour changes, at each of the three offsets."""
    shifted = [base64.b64encode(bytes(offset) + text.encode()) for offset in range(3)]
    return {text.encode(), *(code[4 * (offset > 0) : -4] for offset, code in enumerate(shifted))}


def chunks_of_file(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def chunks_of_images(docker: Docker) -> Iterator[bytes]:
    """The archives of all images, layers uncompressed; one by one, as the engine writes what it saves to disk first."""
    for name in IMAGES:
        command = [docker.environment["DOCKER"], "save", image_name(name)]
        with subprocess.Popen(command, env={**os.environ, **docker.environment}, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            while chunk := process.stdout.read(CHUNK):
                yield chunk
        assert process.returncode == 0, name


def test_scan_finds_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * (CHUNK - 3) + b"secret" + b"x")
    assert found(chunks_of_file(path), [b"secret", b"other"]) == {b"secret"}
    for text in ("secret-of-a-store", "xsecret-of-a-store:", "xysecret-of-a-store::"):
        path.write_bytes(base64.b64encode(text.encode()))
        assert found(chunks_of_file(path), forms("secret-of-a-store"))
        assert not found(chunks_of_file(path), forms("another-secret-of"))


def test_no_secret_is_left_behind(
    docker: Docker, finished: ContainerRun, line_file: Path, connected: Services, tmp_path: Path
) -> None:
    secrets = forms(connected.secret) | forms(connected.environment["AWS_ACCESS_KEY_ID"])
    for prefix in ("mlflow", "results"):
        fetch_prefix(f"s3://{BUCKET}/{prefix}", tmp_path / prefix)
    folders = (finished.workdir.root, tmp_path, connected.database, line_file.parent)
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    assert {"run.log", "pipeline.yaml", "mlflow.db", "artifacts.json"} <= {path.name for path in files}
    assert [path for path in files if found(chunks_of_file(path), secrets)] == []
    texts = (finished.out + finished.err + docker.logs(connected.container)).encode()
    assert found(iter([texts]), secrets) == set()
    # The scan of the images sees the project's own source in them.
    assert found(chunks_of_images(docker), {*secrets, SOURCE_TEXT}) == {SOURCE_TEXT}
