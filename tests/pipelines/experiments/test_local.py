"""Experiments on this machine, with tiny settings."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import psutil
import pytest
from safetensors import safe_open

from components.artifacts import ITERATIONS
from components.errors import InputError
from components.tabulation.statistics import BASELINES
from pipelines.experiments.catalogue import cells
from pipelines.experiments.local import run_experiment, store_of
from pipelines.experiments.nodes import in_order
from pipelines.experiments.request import Request
from pipelines.experiments.running import Store, run_node
from pipelines.local.workdir import STATE
from tests.pipelines.experiments.conftest import TINY
from tests.pipelines.vigil import Vigil

Ask = Callable[..., Request]

ITERATIONS_OF_LOOP = 4
LONG = (*TINY, f"vqgan.iterations={ITERATIONS_OF_LOOP}", "vqgan.steps=25")
"""After its first iteration, the loop goes on for seconds."""
STATE_OF_LOOP = "checkpoints/*/*/state.safetensors"


def run(request: Request, workdir: Path, jobs: int = 1) -> list[str]:
    """Run an experiment, and return its progress lines."""
    lines: list[str] = []
    found = cells(request.name, request.study(for_cluster=False))

    def report(done: int, total: int, what: str, seconds: float) -> None:
        lines.append(f"{what} {done}/{total}")

    run_experiment(request.name, found, request.summary(), workdir, jobs, report)
    return lines


def figures(workdir: Path, name: str) -> pd.DataFrame:
    """The table without what depends on the machine's load."""
    table = pd.read_parquet(workdir / f"{name}.parquet")
    return table[table["measure"] != "latency_ms"].reset_index(drop=True)


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a finished Fig. 9."""
    workdir = tmp_path_factory.mktemp("finished")
    run(Request(name="fig9", data=str(data), classes=["brick"], seeds="0", settings=TINY), workdir)
    return workdir


def test_it_leaves_a_table_and_a_page(finished: Path) -> None:
    table = figures(finished, "fig9")
    assert table[table["measure"] == "cosine"]["item"].tolist() == ["0", "1"]
    aurocs = table[(table["measure"] == "image_auroc") & (table["item"] == "")]
    assert aurocs["method"].tolist() == [*BASELINES, "generated"]
    assert aurocs["value"].between(0, 1).all()
    assert "Similarity over iterations" in (finished / "fig9.html").read_text(encoding="utf-8")
    assert (finished / "fig9.log").stat().st_size > 0


@pytest.mark.slow
def test_experiments_share_finished_tasks(ask: Ask, finished: Path, tmp_path: Path) -> None:
    workdir = Path(shutil.copytree(finished, tmp_path / "shared"))
    assert run(ask("fig9"), workdir) == []
    assert run(ask("fig5"), workdir) == []
    lines = run(ask("fig9", settings=(*TINY, "selection.images=1")), workdir)
    assert [line.rsplit(" ", 1)[0] for line in lines] == ["selection", "detection patchcore", "evaluation"]


def test_a_folder_of_something_else_is_left_alone(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / STATE).write_text('{"line": "bolt", "run_id": "1", "status": "FINISHED"}')
    with pytest.raises(InputError, match="holds runs of line 'bolt'"):
        run(ask("fig9"), tmp_path)


def test_data_that_changed_after_the_plan_is_no_result(ask: Ask, data: Path, tmp_path: Path) -> None:
    changed = Path(shutil.copytree(data, tmp_path / "data"))
    found = in_order(cells("fig9", ask("fig9", data=str(changed)).study(for_cluster=False)))
    good = changed / "brick" / "train" / "good"
    shutil.copyfile(good / "000.png", good / "more.png")
    store = store_of(tmp_path, 1)
    with pytest.raises(RuntimeError, match="the data set changed after the run began"):
        run_node(found[0], store)
    assert not store.finished(found[0])
    assert not store.output(found[0]).exists()


def one_thread() -> dict[str, str]:
    """Environment in which tasks compute on one thread whatever `--jobs` is: digits depend on the threads."""
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def command(data: Path, workdir: Path, *options: str, settings: Sequence[str] = TINY) -> list[str]:
    settings = [part for text in settings for part in ("--set", text)]
    given = ["--data", str(data), "--classes", "brick", "--seeds", "0", "--workdir", str(workdir)]
    return [str(Path(sys.executable).with_name("vigil")), "experiment", "fig9", *given, *settings, *options]


def test_plan_runs_nothing(vigil: Vigil, data: Path, tmp_path: Path) -> None:
    done = vigil(*command(data, tmp_path / "new", "--plan")[1:])
    assert done.code == 0
    assert "patchcore/none, patchcore/repeated, patchcore/rotations" in done.out
    assert "minutes left" in done.out
    assert not (tmp_path / "new").exists()


def test_a_failing_task_is_one_line_and_loses_nothing(data: Path, tmp_path: Path) -> None:
    wrong = command(data, tmp_path, "--set", "dataset.shots=9", "--shots", "9")
    done = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "dataset.shots: got 9" in done.stderr
    assert not (tmp_path / "fig9.parquet").exists()


@pytest.fixture(scope="module")
def uninterrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Fig. 9 whose loop takes long enough to be killed in."""
    workdir = tmp_path_factory.mktemp("uninterrupted")
    subprocess.run(command(data, workdir, settings=LONG), env=one_thread(), check=True, stdout=subprocess.DEVNULL)
    return workdir


def wait_for_checkpoint(process: "subprocess.Popen[str]", workdir: Path) -> None:
    deadline = time.monotonic() + 300
    while process.poll() is None and not list(workdir.glob(STATE_OF_LOOP)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.poll() is None
    assert len(list(workdir.glob(STATE_OF_LOOP))) == 1


def kept_seconds(workdir: Path) -> list[float]:
    """What the iterations took that the checkpoint of the one unfinished loop holds."""
    (path,) = workdir.glob(STATE_OF_LOOP)
    with safe_open(path, "pt") as file:
        return [row["seconds"] for row in json.loads(file.metadata()["progress"])["iterations"]]


@pytest.mark.slow
@pytest.mark.parametrize(("jobs", "end"), [(1, signal.SIGKILL), (2, signal.SIGTERM)])
def test_a_killed_experiment_goes_on_to_the_same_digits(
    ask: Ask, data: Path, uninterrupted: Path, tmp_path: Path, jobs: int, end: signal.Signals
) -> None:
    """Killed in the loop, after its first iteration, from whose state the next run goes on."""
    same = command(data, tmp_path, "--jobs", str(jobs), settings=LONG)
    process = subprocess.Popen(same, env=one_thread(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for_checkpoint(process, tmp_path)
    workers = psutil.Process(process.pid).children()
    process.send_signal(end)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    if end == signal.SIGTERM:
        assert errors.endswith("error: interrupted; run the same command again to go on\n")
    assert psutil.wait_procs(workers, timeout=60)[1] == []
    found = in_order(cells("fig9", ask("fig9", settings=LONG).study(for_cluster=False)))
    store = Store(root=tmp_path / "tasks", threads=1)
    assert 0 < sum(store.finished(node) for node in found) < len(found)
    seconds = kept_seconds(tmp_path)
    assert 1 <= len(seconds) < ITERATIONS_OF_LOOP
    subprocess.run(same, env=one_thread(), check=True, stdout=subprocess.DEVNULL)
    (iterations,) = tmp_path.glob(f"tasks/vqgan/*/output/{ITERATIONS}")
    assert pd.read_parquet(iterations)["seconds"].tolist()[: len(seconds)] == seconds
    assert list(tmp_path.glob(STATE_OF_LOOP)) == []
    pd.testing.assert_frame_equal(figures(tmp_path, "fig9"), figures(uninterrupted, "fig9"))
