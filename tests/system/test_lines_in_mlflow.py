"""What MLflow knows of several lines' runs, on a real server with a database, whose artifacts lie on a real S3 server.

One line runs three times: its first detector becomes the champion; its second run loses its fine-tuning process in
the middle, goes on when it is started again, and its detector is refused; the third, by a gate that lets a newer
detector be a little worse, promotes the same detector. The run of another line fails, and a third line runs while the
tracking server does not answer.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.components.runs import line_runs, stage_runs
from tests.conftest import MvtecTree
from tests.mlflow_server import mlflow_server
from tests.s3_server import ACCESS_KEY, BUCKET, SECRET, S3Server
from tests.stages import STAGES

pytestmark = [pytest.mark.slow, pytest.mark.s3]

MAIN = "from pipelines.cli import main; main()"
PREFIX = "mlflow"
RUN_SECONDS = 900
STEPS, LONG_STEPS = 4, 40
"""Steps of an iteration, few, and enough for a loop to be killed before it has finished."""
NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True, kw_only=True)
class Plant:
    """The servers' addresses, and what each run ended with."""

    tracking_uri: str
    store: dict[str, str]
    codes: list[int]
    unheard: str
    """What the run printed that MLflow did not answer."""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory, mvtec_tree: MvtecTree) -> Iterator[Plant]:
    pytest.importorskip("boto3", reason="the tracking server's S3 artifacts need boto3")
    folder = tmp_path_factory.mktemp("plant")
    server = S3Server(folder / "s3")
    try:
        server.start()
        store = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
        tracking = store | {"MLFLOW_S3_ENDPOINT_URL": server.endpoint}
        with mlflow_server(folder, artifacts=f"s3://{BUCKET}/{PREFIX}", environment=tracking) as address:
            yield run_all(folder, address, store | {"S3_ENDPOINT": server.endpoint}, mvtec_tree)
    finally:
        server.kill()


def run_all(folder: Path, address: str, store: dict[str, str], mvtec_tree: MvtecTree) -> Plant:
    bolts, nuts = mvtec_tree(name="bolts"), mvtec_tree(name="nuts")
    damaged = nuts / "test" / "good" / "001.png"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    codes = [run(line_file(folder, "bolts", bolts, seed=0), folder / "first", address)]
    second = line_file(folder, "bolts", bolts, seed=1, steps=LONG_STEPS)
    codes.append(run_until_the_loop_is_killed(second, folder / "second", address))
    codes.append(run(second, folder / "second", address))
    third = line_file(folder, "bolts", bolts, seed=1, steps=LONG_STEPS, gate={"min_champion_gain": -0.01})
    codes.append(run(third, folder / "second", address))  # with the second's artifacts up to the registration
    codes.append(run(line_file(folder, "nuts", nuts, seed=0), folder / "nuts", address))
    screws = line_file(folder, "screws", bolts, seed=0)
    unheard = start(screws, folder / "screws", NOWHERE)
    printed, _ = unheard.communicate(timeout=RUN_SECONDS)
    codes += [unheard.returncode, run(screws, folder / "screws", address)]
    return Plant(tracking_uri=address, store=store, codes=codes, unheard=printed)


def line_file(
    folder: Path, name: str, dataset: Path, seed: int, steps: int = STEPS, gate: dict[str, float] | None = None
) -> Path:
    content = {
        "name": name,
        "object": name.removesuffix("s"),
        "seed": seed,
        "dataset": {"uri": str(dataset), "shots": 2, "image_size": 64},
        "prompts": {"words": ["crack", "scratch"]},
        "augmentation": {"images": 4},
        "vqgan": {
            "weights": "none",
            "iterations": 2,
            "images": 2,
            "steps": steps,
            "batch_size": 2,
            "codebook_size": 32,
        },
        "training_sets": ["none", "generated"],
        "registration": gate or {},
    }
    path = folder / f"{name}-{seed}-{len(gate or {})}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def start(line: Path, workdir: Path, address: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", MAIN, "run", str(line), "--workdir", str(workdir)]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": address, "NO_COLOR": "1"}
    environment.pop("VIGIL_RUN_ID", None)
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def run(line: Path, workdir: Path, address: str) -> int:
    process = start(line, workdir, address)
    process.communicate(timeout=RUN_SECONDS)
    return process.returncode


def run_until_the_loop_is_killed(line: Path, workdir: Path, address: str) -> int:
    """End the process of the fine-tuning loop as the kernel does when memory runs out."""
    process = start(line, workdir, address)
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith("vqgan: step"):
            kill_loop(process)
            break
    process.communicate(timeout=RUN_SECONDS)
    return process.returncode


def kill_loop(process: "subprocess.Popen[str]") -> None:
    for child in psutil.Process(process.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == "vigil vqgan":
                child.kill()


@pytest.fixture
def client(plant: Plant) -> MlflowClient:
    return MlflowClient(plant.tracking_uri)


def pipeline_runs(client: MlflowClient, line: str) -> list[Run]:
    found = [run for run in line_runs(client, line) if run.data.tags.get("vigil.stage") == "pipeline"]
    return sorted(found, key=lambda run: int(run.info.start_time))


def test_runs_end_with_their_codes(plant: Plant) -> None:
    assert plant.codes == [0, 1, 0, 0, 2, 0, 0]


def test_outage_is_reported_once(plant: Plant) -> None:
    assert plant.unheard.count("MLflow does not answer") == 1
    assert plant.unheard.count("what MLflow lacks is kept in") == 1


def test_every_pipeline_run_has_one_parent(client: MlflowClient) -> None:
    assert [run.info.status for run in pipeline_runs(client, "bolts")] == ["FINISHED"] * 3
    assert [run.info.status for run in pipeline_runs(client, "nuts")] == ["FAILED"]


def test_failed_run_names_its_stage_and_keeps_its_last_lines(client: MlflowClient, tmp_path: Path) -> None:
    (failed,) = pipeline_runs(client, "nuts")
    assert failed.data.tags["vigil.failed_stage"] == "check"
    assert "damaged" in failed.data.tags["vigil.failure"]
    log = client.download_artifacts(failed.info.run_id, "failure.txt", str(tmp_path))
    assert "001.png" in Path(log).read_text(encoding="utf-8")


def test_retried_stage_has_one_run_below_the_same_parent(client: MlflowClient) -> None:
    _, retried, _ = pipeline_runs(client, "bolts")
    query = f"tags.`mlflow.parentRunId` = '{retried.info.run_id}'"
    nested = client.search_runs([retried.info.experiment_id], query)
    stages = sorted(run.data.tags["vigil.stage"] for run in nested)
    assert stages == sorted(STAGES)
    (loop,) = [run for run in nested if run.data.tags["vigil.stage"] == "vqgan"]
    assert (loop.data.tags["vigil.attempt"], loop.info.status) == ("2", "FINISHED")
    assert not {"vigil.failed_stage", "vigil.failure"} & set(retried.data.tags)
    steps = [point.step for point in client.get_metric_history(loop.info.run_id, "total") if point.step]
    assert steps == list(range(1, 2 * LONG_STEPS + 1))


def test_gate_has_made_a_champion_refused_its_challenger_and_promoted_another(client: MlflowClient) -> None:
    versions = {str(version.version): version for version in client.search_model_versions("name = 'bolts'")}
    assert {number: version.tags["vigil.gate"] for number, version in versions.items()} == {
        "1": "first",
        "2": "refused",
        "3": "promoted",
    }
    assert client.get_registered_model("bolts").aliases == {"champion": "3", "challenger": "3"}
    assert "min_champion_gain" in versions["2"].tags["vigil.gate_reasons"]
    assert "champion version 1" in versions["3"].tags["vigil.gate_reasons"]


def test_decision_is_a_tag_of_the_pipeline_run(client: MlflowClient) -> None:
    assert [run.data.tags["vigil.gate"] for run in pipeline_runs(client, "bolts")] == [
        "first",
        "refused",
        "promoted",
    ]


def test_runs_of_a_line_say_what_they_are_about(client: MlflowClient) -> None:
    first, second, third = pipeline_runs(client, "bolts")
    assert [run.data.tags["vigil.seed"] for run in (first, second, third)] == ["0", "1", "1"]
    assert first.data.tags["vigil.dataset_digest"] == second.data.tags["vigil.dataset_digest"]
    assert [run.data.params["vqgan_steps"] for run in (first, second)] == [str(STEPS), str(LONG_STEPS)]
    assert third.data.params["registration_min_champion_gain"] == "-0.01"
    assert "patchcore.generated.image_auroc" in first.data.metrics


def test_artifacts_lie_in_the_object_store(
    plant: Plant, client: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.storage import s3

    for name, value in plant.store.items():
        monkeypatch.setenv(name, value)
    run_id = pipeline_runs(client, "bolts")[0].info.run_id
    names = {stored.name for stored in s3.list_objects(f"s3://{BUCKET}/{PREFIX}")}
    assert any(name.endswith(f"{run_id}/artifacts/report.html") for name in names)
    downloaded = client.download_artifacts(run_id, "report.html", str(tmp_path))
    assert "bolts" in Path(downloaded).read_text(encoding="utf-8")


def test_run_without_an_answer_is_recorded_by_the_next(client: MlflowClient) -> None:
    unheard, cached = pipeline_runs(client, "screws")
    assert (unheard.info.status, cached.info.status) == ("FINISHED", "FINISHED")
    assert unheard.data.metrics == cached.data.metrics
    (loop,) = [
        run
        for run in stage_runs(client, "screws", "vqgan")
        if run.data.tags["mlflow.parentRunId"] == unheard.info.run_id
    ]
    assert [point.step for point in client.get_metric_history(loop.info.run_id, "total") if point.step]
    assert cached.data.tags["vigil.gate"] == "first"
    (version,) = client.search_model_versions("name = 'screws'")
    assert version.tags["vigil.run_id"] == unheard.data.tags["vigil.run_id"]


def test_lines_do_not_mix(client: MlflowClient) -> None:
    lines: dict[str, Any] = {line: {run.data.tags["vigil.line"] for run in line_runs(client, line)} for line in LINES}
    assert lines == {line: {line} for line in LINES}
    assert len(stage_runs(client, "bolts", "dataset")) == 3


LINES = ("bolts", "nuts")
