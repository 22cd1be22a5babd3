"""Tests of whole local runs, each by the command line in a process of its own."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from components.artifacts import ImageSet, read_json
from components.listing.opened import dataset_digest
from components.metrics.records import KIND_METRICS, PIXEL_METRICS, PROXY_HEADS, SPRO_METRICS
from pipelines.local.workdir import Workdir
from tests import disks
from tests.conftest import MvtecTree, NewDatabase
from tests.stages import STAGES

NAME = "tiny-line"
ITERATIONS = 2
STEPS = 2
RECORD = {
    "detector",
    "training_set",
    "seed",
    "image_auroc",
    "pixel_auroc",
    "aupro",
    "image_ap",
    "image_f1_max",
    *KIND_METRICS,
    *PIXEL_METRICS,
    *SPRO_METRICS,
    *PROXY_HEADS,
    "proxy_standard_error",
    "validation_images",
    "promised_false_alarm_rate",
    "bank_patches",
    "threshold",
    "false_alarm_rate",
    "recall",
    "latency_ms",
    "images_per_second",
}
FULL_RUN_SECONDS = 900
MAIN = "from pipelines.cli import main; main()"


def write_line(folder: Path, dataset: Path, *, shots: int = 2, steps: int = STEPS) -> Path:
    """A line that runs every stage in as little time as possible."""
    content = {
        "name": NAME,
        "object": "brick",
        "dataset": {"uri": str(dataset), "shots": shots, "image_size": 64},
        "prompts": {"words": ["crack", "scratch"]},
        "augmentation": {"images": 4},
        "vqgan": {
            "weights": "none",
            "iterations": ITERATIONS,
            "images": 2,
            "steps": steps,
            "batch_size": 2,
            "codebook_size": 32,
        },
        "training_sets": ["none", "generated"],
    }
    path = folder / "line.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def environment(**changes: str) -> dict[str, str]:
    """This process's environment without another run's MLflow."""
    own = {name: value for name, value in os.environ.items() if name not in ("MLFLOW_TRACKING_URI", "VIGIL_RUN_ID")}
    return {**own, "NO_COLOR": "1", **changes}


def command(line: Path, workdir: Path) -> list[str]:
    return [sys.executable, "-c", MAIN, "run", str(line), "--workdir", str(workdir)]


def run(line: Path, workdir: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(line, workdir),
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=FULL_RUN_SECONDS,
        check=False,
    )


def stages_started(text: str) -> list[str]:
    """Stages that the log, or the console, shows the start of."""
    return re.findall(r"^(?:.*\[vigil\] )?(.+): started$", text, flags=re.MULTILINE)


def artifact(workdir: Workdir, task: str, name: str) -> Path:
    """Path of an artifact of the first pipeline run in a folder."""
    return min(workdir.artifacts.glob(f"*/{task}/{name}"))


def pipeline_runs(client: MlflowClient) -> list[Run]:
    """Pipeline runs of the line, oldest first."""
    experiment = client.get_experiment_by_name(NAME)
    found = client.search_runs([experiment.experiment_id], "tags.`vigil.stage` = 'pipeline'")
    return sorted(found, key=lambda found: int(found.info.start_time))


def nested_runs(client: MlflowClient, parent: Run) -> list[Run]:
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    return list(client.search_runs([parent.info.experiment_id], query))


@dataclass(frozen=True, kw_only=True)
class LocalRun:
    """A line's folder after a run."""

    line: Path
    dataset: Path
    workdir: Workdir
    done: subprocess.CompletedProcess[str]
    log: str
    """What the run appended to the log."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, mvtec_tree: MvtecTree) -> LocalRun:
    """A whole run."""
    folder, dataset = tmp_path_factory.mktemp("local"), mvtec_tree()
    line, workdir = write_line(folder, dataset), Workdir(root=folder / "runs")
    done = run(line, workdir.root)
    return LocalRun(line=line, dataset=dataset, workdir=workdir, done=done, log=workdir.log.read_text())


@pytest.fixture
def client(finished: LocalRun, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """MLflow's client on the database of the whole run."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", finished.workdir.tracking_uri)
    return MlflowClient()


@pytest.mark.slow
def test_run_ends_well(finished: LocalRun) -> None:
    assert (finished.done.returncode, finished.done.stderr) == (0, "")
    assert sorted(stages_started(finished.log)) == sorted(STAGES)
    assert f"report: {finished.workdir.report}" in finished.done.stdout
    assert read_json(finished.workdir.root / "vigil.json")["status"] == "FINISHED"
    assert not list(finished.workdir.root.rglob("*.partial"))


@pytest.mark.slow
def test_report_is_self_contained(finished: LocalRun) -> None:
    html = finished.workdir.report.read_text(encoding="utf-8")
    markup = re.sub(r"<script\b.*?</script>", "<script></script>", html, flags=re.DOTALL)
    addresses = re.findall(r"""(?:src|href)\s*=\s*["']?([^"'\s>]+)""", markup)
    assert addresses
    assert {address.partition("/")[0] for address in addresses} == {"data:image"}
    assert not re.search(r"<script[^>]+src\s*=", html)
    assert "@import" not in markup
    assert "url(http" not in markup


@pytest.mark.slow
@pytest.mark.parametrize("text", [NAME, "untrained", "ConSE (EfficientNet-Lite2, MiniLM-L6)", "a brick with "])
def test_report_shows_what_ran(finished: LocalRun, text: str) -> None:
    assert text in finished.workdir.report.read_text(encoding="utf-8")


@pytest.mark.slow
def test_metrics_have_the_documented_schema(finished: LocalRun) -> None:
    records = read_json(finished.workdir.metrics)
    assert [(record["detector"], record["training_set"], record["seed"]) for record in records] == [
        ("patchcore", "none", 0),
        ("patchcore", "generated", 0),
    ]
    for record in records:
        assert set(record) == RECORD
        unbounded = {"threshold", "latency_ms", "images_per_second", "bank_patches", "validation_images"}
        assert all(record[name] > 0 for name in unbounded)
        of_other_layouts = {*KIND_METRICS, *PIXEL_METRICS, *SPRO_METRICS}
        assert all(record[name] is None for name in of_other_layouts)
        for name in RECORD - {"detector", "training_set", "seed"} - unbounded - of_other_layouts:
            assert 0 <= record[name] <= 1, name


@pytest.mark.slow
def test_bright_scratches_are_separated_from_good_images(finished: LocalRun) -> None:
    assert [record["image_auroc"] for record in read_json(finished.workdir.metrics)] == [1.0, 1.0]


@pytest.mark.slow
def test_mlflow_has_a_run_for_every_stage(client: MlflowClient) -> None:
    parent = pipeline_runs(client)[0]
    assert parent.info.status == "FINISHED"
    runs = nested_runs(client, parent)
    statuses = [(run.data.tags["vigil.stage"], run.info.status) for run in runs]
    assert sorted(statuses) == sorted((stage, "FINISHED") for stage in STAGES)
    names = {run.data.tags["vigil.stage"]: run.info.run_name for run in runs}
    assert (names["vqgan"], names["detection patchcore/none"]) == ("vqgan", "patchcore/none")


@pytest.mark.slow
def test_mlflow_has_the_line_as_its_only_experiment(client: MlflowClient) -> None:
    assert {experiment.name for experiment in client.search_experiments()} == {NAME, "Default"}


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["total", "mse", "reconstruction", "perceptual", "codebook"])
def test_mlflow_has_the_loss_of_every_step(client: MlflowClient, loss: str) -> None:
    stages = {run.info.run_name: run for run in nested_runs(client, pipeline_runs(client)[0])}
    history = client.get_metric_history(stages["vqgan"].info.run_id, loss)
    steps = sorted(point.step for point in history if point.step > 0)
    assert steps == list(range(1, ITERATIONS * STEPS + 1))


@pytest.mark.slow
def test_mlflow_has_the_data_set(client: MlflowClient, finished: LocalRun) -> None:
    parent, digest = pipeline_runs(client)[0], dataset_digest(str(finished.dataset))
    (entry,) = parent.inputs.dataset_inputs
    assert entry.dataset.digest == digest[:36]
    assert parent.data.tags["vigil.dataset_digest"] == digest


@pytest.mark.slow
def test_mlflow_has_the_metrics_and_the_report(client: MlflowClient, finished: LocalRun) -> None:
    parent = pipeline_runs(client)[0]
    for record in read_json(finished.workdir.metrics):
        name = f"{record['detector']}.{record['training_set']}.image_auroc"
        assert parent.data.metrics[name] == record["image_auroc"]
    assert parent.data.params["vqgan_iterations"] == str(ITERATIONS)
    assert "report.html" in [file.path for file in client.list_artifacts(parent.info.run_id)]


@pytest.mark.slow
def test_registered_model_scores_as_the_run_did(client: MlflowClient, finished: LocalRun) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{NAME}/1")
    images = ImageSet(artifact(finished.workdir, "dataset", "reference"))
    ids = images.ids("test")
    scores = model.predict(np.stack([images.image(id) for id in ids]))["score"]
    best = pipeline_runs(client)[0].data.tags["vigil.best"]
    table = pd.read_parquet(artifact(finished.workdir, "evaluation", "predictions") / "predictions.parquet")
    own = table[table["detector"] + "/" + table["training_set"] == best].set_index("id")["score"]
    np.testing.assert_allclose(scores, own.loc[ids], atol=1e-4)


@pytest.mark.slow
def test_second_run_reuses_every_stage(finished: LocalRun, client: MlflowClient) -> None:
    metrics, length = finished.workdir.metrics.read_bytes(), len(finished.workdir.log.read_text())
    done = run(finished.line, finished.workdir.root)
    assert (done.returncode, done.stderr) == (0, "")
    assert stages_started(finished.workdir.log.read_text()[length:]) == ["fingerprint", "conclusion"]
    assert finished.workdir.metrics.read_bytes() == metrics
    first, second = pipeline_runs(client)
    assert (first.info.status, second.info.status) == ("FINISHED", "FINISHED")
    assert second.data.metrics == first.data.metrics
    cached = {run.data.tags["vigil.stage"]: run.data.tags.get("vigil.cached") for run in nested_runs(client, second)}
    computed_in = first.data.tags["vigil.run_id"]
    assert cached == {stage: None if stage in ("fingerprint", "conclusion") else computed_in for stage in STAGES}
    assert len(client.search_model_versions(f"name = '{NAME}'")) == 1


def assert_rejected(line: Path, new_database: NewDatabase, folder: Path, expected: Sequence[str]) -> None:
    uri, workdir = new_database(folder), Workdir(root=folder / "runs")
    done = run(line, workdir.root, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for text in expected:
        assert text in done.stderr
    assert not workdir.report.exists()
    assert not workdir.metrics.exists()
    assert [found.info.status for found in pipeline_runs(MlflowClient(uri))] == ["FAILED"]


def test_missing_data_set_is_bad_input(tmp_path: Path, new_database: NewDatabase) -> None:
    missing = tmp_path / "images"
    assert_rejected(write_line(tmp_path, missing), new_database, tmp_path, [f"{missing} is not a folder"])


@pytest.mark.slow
def test_truncated_image_is_bad_input(tmp_path: Path, new_database: NewDatabase, mvtec_tree: MvtecTree) -> None:
    dataset = mvtec_tree()
    image = dataset / "test" / "good" / "001.png"
    image.write_bytes(image.read_bytes()[:-200])
    assert_rejected(write_line(tmp_path, dataset), new_database, tmp_path, [str(image), "damaged"])


@pytest.mark.slow
def test_more_shots_than_images_are_bad_input(tmp_path: Path, new_database: NewDatabase, mvtec_tree: MvtecTree) -> None:
    line = write_line(tmp_path, mvtec_tree(train=3), shots=4)
    assert_rejected(line, new_database, tmp_path, ["dataset.shots: got 4, expected at most 3"])


def heed_interrupts() -> None:
    """Undo what a shell does to its background jobs, the tests among them."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_until_generating(line: Path, workdir: Workdir) -> "tuple[subprocess.Popen[str], list[str]]":
    """A run that is in the middle of fine-tuning, and the stages that it has started."""
    process = subprocess.Popen(
        command(line, workdir.root),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=heed_interrupts,  # noqa: PLW1509 (the child has no thread yet)
    )
    assert process.stdout is not None
    printed = ""
    for text in process.stdout:
        printed += text
        if text.startswith("vqgan: step"):
            return process, stages_started(printed)
    raise AssertionError(process.communicate())


def children(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return list(psutil.Process(process.pid).children(recursive=True))


def end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        if process.is_running():
            process.kill()
    psutil.wait_procs(processes, timeout=30)


@dataclass(frozen=True, kw_only=True)
class Interrupted:
    """A run that was interrupted while it fine-tuned."""

    line: Path
    workdir: Workdir
    started: list[str]
    code: int
    err: str
    left: list[psutil.Process]
    """Its processes that were still alive at its end."""


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory, mvtec_tree: MvtecTree) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted")
    line, workdir = write_line(folder, mvtec_tree(), steps=5), Workdir(root=folder / "runs")
    process, started = start_until_generating(line, workdir)
    alive = children(process)
    assert alive
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    left = [child for child in alive if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    end(left)
    return Interrupted(line=line, workdir=workdir, started=started, code=process.returncode, err=err, left=left)


@pytest.mark.slow
def test_interrupt_ends_the_run_and_its_processes(interrupted: Interrupted) -> None:
    expected = {"augmentation", "dataset", "defect_synthesis", "fingerprint", "prompts", "vqgan"}
    assert {"prompts", *interrupted.started} == expected
    assert len(set(interrupted.started)) == len(interrupted.started)
    assert interrupted.code == 130
    assert interrupted.left == []
    assert interrupted.err == "error: interrupted; run the same command again to go on\n"
    assert not interrupted.workdir.report.exists()
    assert read_json(interrupted.workdir.root / "vigil.json")["status"] == "KILLED"


@pytest.mark.slow
def test_killed_run_goes_on_where_it_was(interrupted: Interrupted) -> None:
    process, started = start_until_generating(interrupted.line, interrupted.workdir)
    assert [stage for stage in started if stage != "prompts"] == ["fingerprint", "vqgan"]
    assert [*interrupted.started, *started].count("prompts") <= 1
    orphans = children(process)
    process.kill()
    end(orphans)
    process.communicate(timeout=60)
    assert read_json(interrupted.workdir.root / "vigil.json")["status"] == "RUNNING"
    done = run(interrupted.line, interrupted.workdir.root)
    assert (done.returncode, done.stderr) == (0, "")
    finished = {*interrupted.started, *started} - {"fingerprint", "vqgan"}
    assert set(stages_started(done.stdout)) == STAGES - finished
    assert len(read_json(interrupted.workdir.metrics)) == 2
    (parent,) = pipeline_runs(MlflowClient(interrupted.workdir.tracking_uri))
    assert parent.info.status == "FINISHED"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for every stage before the generator's weights."""
    with disks.small_disk(tmp_path / "disk", 4) as folder:
        yield folder


@pytest.mark.slow
def test_full_disk_is_reported_and_leaves_nothing_incomplete(
    tmp_path: Path, small_disk: Path, mvtec_tree: MvtecTree
) -> None:
    done = run(write_line(tmp_path, mvtec_tree()), small_disk / "runs")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert re.match(r"error: stage vqgan failed: .*No space left", done.stderr)
    assert not list(small_disk.rglob("generator"))
    assert not list(small_disk.rglob("*.partial"))
    assert not (small_disk / "runs" / "report.html").exists()


@pytest.mark.slow
def test_every_detector_without_a_transformer_runs_in_a_line(tmp_path: Path, mvtec_tree: MvtecTree) -> None:
    """The report names the variant where it is the best, and the record of each detector is complete."""
    names = ["patchcore", "cflow", "reverse_distillation", "efficientad", "padim"]
    path = write_line(tmp_path, mvtec_tree(), shots=1)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content |= {"detectors": names, "training_sets": ["none"]}
    content["detection"] = {"cflow_steps": 3, "distillation_steps": 3, "efficientad_steps": 3}
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    done = run(path, tmp_path / "runs")
    assert (done.returncode, done.stderr) == (0, "")
    records = read_json(tmp_path / "runs" / "metrics.json")
    assert [record["detector"] for record in records] == names
    assert all(set(record) == RECORD and 0 <= record["image_auroc"] <= 1 for record in records)
