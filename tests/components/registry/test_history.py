"""Tests of reading earlier runs out of MLflow's database."""

import re
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from components.errors import InputError
from components.registry import history
from components.registry.history import LineHistory, distinct_runs, public_uri, read_history, records_of
from tests.conftest import NewDatabase
from tests.mlflow_runs import write_drift, write_run

HOUR = 3_600_000
START = 1_790_000_000_000


@pytest.fixture(scope="module")
def uri(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with two lines, an empty experiment and one that is no line's."""
    uri = new_database(tmp_path_factory.mktemp("history"))
    client = MlflowClient(uri)
    for seed in range(3):
        write_run(client, "bolts", f"b{seed}", {"none": 0.8, "generated": 0.9}, seed=seed, start=START + seed * HOUR)
    write_run(client, "bolts", "b3", {}, start=START + 3 * HOUR)
    write_run(client, "bolts", "b4", {}, start=START + 4 * HOUR, status="FAILED")
    write_run(client, "nuts", "n0", {"none": 0.7}, tags={"vigil.best": "patchcore/none", "vigil.model_version": "1"})
    write_drift(client, "nuts", "yes", "brightness", START + HOUR)
    client.create_run(client.create_experiment("notebook"), tags={"mlflow.runName": "by hand"})
    client.create_registered_model("nuts")
    for gate in ("passed", "refused"):
        tags = {"vigil.gate": gate, "vigil.gate_reasons": "latency"}
        client.create_model_version("nuts", source="file:///models/nuts", tags=tags)
    client.set_registered_model_alias("nuts", "champion", "1")
    return uri


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts the test's own calls of MLflow's client, which are made all the same, and not those of other threads."""
    counted, own = Counter[str](), threading.get_ident()

    def count(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            if threading.get_ident() == own:
                counted[name] += 1
            return call(*args, **kwargs)

        return counting

    for name, call in vars(MlflowClient).items():
        if re.match("search|get|list", name):
            monkeypatch.setattr(MlflowClient, name, count(name, call))
    return counted


def line(uri: str, name: str) -> LineHistory:
    (found,) = read_history(uri, [name])
    return found


def test_all_lines_and_nothing_else(uri: str) -> None:
    assert [found.line for found in read_history(uri)] == ["bolts", "nuts"]


def test_runs_are_newest_first_without_nested_ones(uri: str) -> None:
    runs = line(uri, "bolts").runs
    assert [run.run_id for run in runs] == ["b4", "b3", "b2", "b1", "b0"]
    assert [run.status for run in runs] == ["FAILED", *["FINISHED"] * 4]


def test_run_has_what_was_logged(uri: str) -> None:
    run = line(uri, "bolts").runs[3]
    assert run.seed == 1
    assert run.started == datetime.fromtimestamp((START + HOUR) / 1000, UTC)
    assert run.conditions.dataset == "d" * 64
    assert (run.conditions.shots, run.conditions.profile, run.conditions.version) == ("1", "embedded", "1.0")
    assert run.conditions.settings == (("vqgan_steps", "20"),)
    found = {(record.training_set, record.seed, record.image_auroc) for record in run.records}
    assert found == {("generated", 1, 0.9), ("none", 1, 0.8)}
    assert run.link == ""


def test_versions_with_aliases_and_gate(uri: str) -> None:
    found = line(uri, "nuts")
    assert [(one.number, one.aliases, one.gate) for one in found.versions] == [
        (2, (), "refused"),
        (1, ("champion",), "passed"),
    ]
    assert (found.runs[0].registered, found.runs[0].model_version) == ("patchcore/none", "1")
    assert line(uri, "bolts").versions == ()


def test_drift_checks(uri: str) -> None:
    (check,) = line(uri, "nuts").drift
    assert (check.retrain, check.reasons) == (True, "brightness")
    assert line(uri, "bolts").drift == ()


def test_since_leaves_older_runs_out(uri: str) -> None:
    since = datetime.fromtimestamp((START + 2 * HOUR) / 1000, UTC)
    found = {found.line: [run.run_id for run in found.runs] for found in read_history(uri, None, since)}
    assert found == {"bolts": ["b4", "b3", "b2"]}


def test_pages_lose_nothing(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_history(uri)
    monkeypatch.setattr(history, "_PAGE", 1)
    monkeypatch.setattr(history, "_EXPERIMENTS_PER_CALL", 1)
    assert read_history(uri) == whole


def test_calls_do_not_grow_with_the_runs(uri: str, calls: Counter[str]) -> None:
    read_history(uri, ["bolts"])
    five_runs = Counter(calls)
    calls.clear()
    read_history(uri, ["nuts"])
    assert calls == five_runs
    assert sum(calls.values()) <= 6


def test_calls_do_not_grow_with_the_lines(uri: str, calls: Counter[str]) -> None:
    read_history(uri)
    assert sum(calls.values()) == 6


def test_unknown_line_is_left_out(uri: str) -> None:
    assert read_history(uri, ["screws"]) == []


def test_line_without_runs(uri: str) -> None:
    assert line(uri, "notebook").runs == ()


def test_missing_database_is_not_created(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tracking-uri: .*there is no such file"):
        read_history(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("uri", ["", "runs/mlflow.db", "databricks", "file:///runs"])
def test_other_addresses_are_refused(uri: str) -> None:
    with pytest.raises(InputError, match="tracking-uri: got"):
        read_history(uri)


def test_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("no database, but a text of some length " * 20, encoding="utf-8")
    with pytest.raises(OSError, match="MLflow at sqlite:"):
        read_history(f"sqlite:///{path}")


def test_unreachable_server_is_reported_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(OSError, match=r"MLflow at http://127\.0\.0\.1:9") as caught:
        read_history("http://someone:secret@127.0.0.1:9")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_public_uri() -> None:
    assert public_uri("https://me:secret@mlflow.example:5000/path?token=1") == "https://mlflow.example:5000/path"
    assert public_uri("sqlite:////runs/mlflow.db") == "sqlite:////runs/mlflow.db"


def test_records_of_metrics() -> None:
    metrics = {
        "patchcore.none.image_auroc": 0.5,
        "patchcore.none.latency_ms": 20.0,
        "patchcore.none.spro_logical": 0.4,
        "patchcore.gain": 0.1,
        "seconds": 1.0,
        "a.b.unknown": 1,
    }
    (record,) = records_of(metrics, 3)
    assert (record.detector, record.training_set, record.seed) == ("patchcore", "none", 3)
    assert (record.image_auroc, record.latency_ms, record.aupro) == (0.5, 20.0, None)
    assert (record.spro_logical, record.image_auroc_logical) == (0.4, None)


def test_results_from_the_cache_of_another_run_count_once(uri: str) -> None:
    client = MlflowClient(uri)
    write_run(client, "rivets", "r0", {"none": 0.6}, start=START)
    write_run(client, "rivets", "r1", {"none": 0.6}, start=START + HOUR, cached_from="r0")
    write_run(client, "rivets", "r2", {"none": 0.6}, start=START + 2 * HOUR, cached_from="deleted")
    found = {run.run_id: len(run.records) for run in line(uri, "rivets").runs}
    client.delete_experiment(client.get_experiment_by_name("rivets").experiment_id)
    assert found == {"r0": 1, "r1": 0, "r2": 1}


def test_failure_is_reported(uri: str) -> None:
    client = MlflowClient(uri)
    tags = {"vigil.failed_stage": "ingestion", "vigil.failure": "no images"}
    write_run(client, "pins", "p0", {}, status="FAILED", tags=tags)
    (run,) = line(uri, "pins").runs
    client.delete_experiment(client.get_experiment_by_name("pins").experiment_id)
    assert run.failure == "ingestion: no images"


def test_run_that_was_logged_twice_counts_once(uri: str) -> None:
    client = MlflowClient(uri)
    write_run(client, "screws", "s0", {"none": 0.6}, start=START)
    write_run(client, "screws", "s0", {}, start=START + 1, status="RUNNING")
    (run,) = line(uri, "screws").runs
    assert (run.status, len(run.records)) == ("FINISHED", 1)
    assert distinct_runs([run, run]) == (run,)
    client.delete_experiment(client.get_experiment_by_name("screws").experiment_id)
