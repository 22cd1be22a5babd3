"""Tests of `vigil compare`."""

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.artifacts import write_json
from tests.conftest import NewDatabase
from tests.mlflow_runs import write_run
from tests.pipelines.comparing.past_runs import records
from tests.pipelines.vigil import Vigil, assert_refused

DAY = 86_400_000


@pytest.fixture(scope="module")
def uri(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Three seeds of one line, and a line whose last run failed."""
    uri = new_database(tmp_path_factory.mktemp("compare"))
    client = MlflowClient(uri)
    for seed in range(3):
        aurocs = {"none": 0.8, "rotations": 0.85, "generated": 0.86 + seed / 100}
        write_run(client, "bolts", f"b{seed}", aurocs, seed=seed, start=1_790_000_000_000 + seed)
    write_run(client, "nuts", "n0", {"none": 0.7})
    write_run(client, "nuts", "n1", {}, start=1_790_000_000_000 + DAY, status="FAILED")
    return uri


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.commands.compare.console.width", 240)


def test_one_line(vigil: Vigil, uri: str) -> None:
    done = vigil("compare", "bolts", "--tracking-uri", uri)
    assert done.code == 0
    assert "0.8700 ± 0.0100" in done.out
    assert "over rotations (n=3) (seed 0: +0.0100, seed 1: +0.0200, seed 2: +0.0300)" in done.out
    assert "data dddddddddddd, shots 1, profile embedded, version 1.0" in done.out


def test_address_from_the_environment(vigil: Vigil, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert vigil("compare", "bolts").code == 0


def test_all_lines_by_attention(vigil: Vigil, uri: str) -> None:
    done = vigil("compare", "--all", "--tracking-uri", uri, "--stale-days", 36500)
    assert done.code == 0
    assert done.out.index("nuts") < done.out.index("bolts")
    assert "last run n1 failed on 2026-09-22" in done.out
    assert "1 measured, 1 failed" in done.out


def test_json(vigil: Vigil, uri: str) -> None:
    done = vigil("compare", "--all", "--tracking-uri", uri, "--json", "--stale-days", 36500)
    nuts, bolts = json.loads(done.out)
    assert nuts["attention"]["score"] == 4
    assert bolts["runs"] == {"measured": 3, "reused": 0, "failed": 0, "running": 0}
    (group,) = bolts["groups"]
    gain = group["gains"]["patchcore"]
    assert (gain["baseline"], gain["n"], gain["differences"]["2"]) == ("rotations", 3, pytest.approx(0.03))
    assert group["best"]["run"]["run_id"] == "b2"
    assert group["trials"][2]["metrics"]["image_auroc"]["by_seed"] == {"0": 0.86, "1": 0.87, "2": 0.88}


def test_since(vigil: Vigil, uri: str) -> None:
    done = vigil("compare", "nuts", "--tracking-uri", uri, "--since", "2026-09-22", "--json")
    assert json.loads(done.out)[0]["runs"] == {"measured": 0, "reused": 0, "failed": 1, "running": 0}


def test_page(vigil: Vigil, uri: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    done = vigil("compare", "bolts", "nuts", "--tracking-uri", uri, "-o", path)
    assert done.code == 0
    assert done.out.splitlines()[-1] == f"page: {path}"
    assert "Comparison of 2 lines" in path.read_text(encoding="utf-8")


def test_other_metric(vigil: Vigil, uri: str) -> None:
    done = vigil("compare", "bolts", "--tracking-uri", uri, "--metric", "aupro", "--json")
    (line,) = json.loads(done.out)
    assert line["groups"][0]["gains"] == {"patchcore": None}
    assert line["groups"][0]["best"] is None


def test_workdirs(vigil: Vigil, tmp_path: Path) -> None:
    write_json(tmp_path / "vigil.json", {"line": "bolts", "run_id": "r1", "status": "FINISHED"})
    write_json(tmp_path / "metrics.json", [one.to_json() for one in records(0, none=0.8, generated=0.9)])
    done = vigil("compare", "--workdir", tmp_path)
    assert done.code == 0
    assert "+0.1000 over none (n=1) (seed 0: +0.1000); n = 1: too small for an interval" in done.out
    assert_refused(vigil("compare", "nuts", "--workdir", tmp_path), "line: got 'nuts', expected a line with runs")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--tracking-uri", "{uri}"], "expected names of lines, or --all, or --workdir"),
        (["bolts", "--all", "--tracking-uri", "{uri}"], "expected names of lines, or --all, or --workdir"),
        (["bolts"], "tracking-uri: got ''"),
        (["screws", "--tracking-uri", "{uri}"], "line: got 'screws', expected a line with runs"),
        (["bolts", "--tracking-uri", "{uri}", "--metric", "auroc"], "metric: got 'auroc', expected one of image_auroc"),
        (["bolts", "--tracking-uri", "{uri}", "--since", "soon"], "since: got 'soon'"),
        (["bolts", "--tracking-uri", "{uri}", "-o", "page.txt"], "output: got 'page.txt', expected a .html file"),
        (["bolts", "--tracking-uri", "{uri}", "-o", "/nowhere/page.html"], "expected a file in an existing folder"),
        (["bolts", "--tracking-uri", "sqlite:////nowhere/mlflow.db"], "there is no such file"),
    ],
)
def test_bad_input(vigil: Vigil, uri: str, arguments: list[str], expected: str) -> None:
    assert_refused(vigil("compare", *(one.format(uri=uri) for one in arguments)), expected)
