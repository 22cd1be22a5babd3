"""Tests of reading the folders of local runs."""

from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.artifacts import write_json
from components.errors import InputError
from pipelines.comparing.lines import compare_line
from pipelines.comparing.workdirs import merge_histories, read_workdir
from tests.conftest import NewDatabase
from tests.mlflow_runs import write_run
from tests.pipelines.comparing.past_runs import NOW, history, past_run, records, version


def workdir(root: Path, run_id: str, seed: int, status: str = "FINISHED", auroc: float = 0.8) -> Path:
    root.mkdir()
    write_json(root / "vigil.json", {"line": "bolts", "run_id": run_id, "status": status})
    write_json(root / "metrics.json", [one.to_json() for one in records(seed, none=auroc)])
    return root


def test_results_without_a_database(tmp_path: Path) -> None:
    found = read_workdir(workdir(tmp_path / "a", "r1", 3))
    (run,) = found.runs
    assert (found.line, run.run_id, run.seed, run.status) == ("bolts", "r1", 3, "FINISHED")
    assert run.records == records(3, none=0.8)
    assert run.link == str(tmp_path / "a")


def test_failed_run_beside_earlier_results(tmp_path: Path) -> None:
    found = read_workdir(workdir(tmp_path / "a", "r2", 0, status="FAILED"))
    assert {(run.run_id, run.status, len(run.records)) for run in found.runs} == {
        ("r2", "FAILED", 0),
        ("a/metrics.json", "FINISHED", 1),
    }


def test_database_of_the_folder_is_read(new_database: NewDatabase, tmp_path: Path) -> None:
    root = workdir(tmp_path / "a", "r1", 0)
    write_run(MlflowClient(new_database(root)), "bolts", "r1", {"none": 0.8})
    (run,) = read_workdir(root).runs
    assert (run.run_id, run.conditions.shots, run.link) == ("r1", "1", str(root))


def test_unknown_conditions_are_never_mixed(tmp_path: Path) -> None:
    merged = merge_histories(read_workdir(workdir(tmp_path / name, name, seed)) for seed, name in enumerate("ab"))
    compared = compare_line(merged[0], "image_auroc", NOW, 30)
    assert [group.seeds for group in compared.groups] in ([(0,), (1,)], [(1,), (0,)])


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run of a line"):
        read_workdir(tmp_path)


def test_run_known_to_two_places_counts_once() -> None:
    first = history(past_run("a", aurocs={"none": 0.8}), versions=(version(1),))
    second = history(past_run("a", aurocs={"none": 0.8}), past_run("b", days_ago=2), versions=(version(1),))
    other = replace(history(replace(past_run("c"), line="nuts")), line="nuts")
    merged = merge_histories([first, other, second])
    assert [(one.line, [run.run_id for run in one.runs]) for one in merged] == [("bolts", ["a", "b"]), ("nuts", ["c"])]
    assert merged[0].versions == (version(1),)
