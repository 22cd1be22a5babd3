"""Runs of one line that finish at once, as processes of their own against a real MLflow server."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from components.errors import InputError
from components.registry.promotion import CHALLENGER, CHAMPION, LineModel
from tests.components.versions import add_version, decide_again_and_again, decide_and_carry_out
from tests.mlflow_server import mlflow_server
from tests.processes import CONTEXT, SECONDS, run_processes

pytestmark = pytest.mark.slow

ROUNDS = 12


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("server")) as address:
        yield address


@pytest.fixture
def address(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return server


def race(address: str, line: str, aurocs: list[float], barrier: Any, results: Path) -> None:
    """Register a version and decide on it, in step with the other process, once per figure."""
    os.environ["MLFLOW_TRACKING_URI"] = address
    gates = []
    for auroc in aurocs:
        model, number = add_version(line, auroc)
        barrier.wait(SECONDS)
        gates.append(decide_and_carry_out(model, number, auroc).gate)
        barrier.wait(SECONDS)
    results.write_text(json.dumps(gates), encoding="utf-8")


def die_before_the_alias(address: str, line: str, auroc: float) -> None:
    """Kill this process after the entry is written, before the alias is set."""
    os.environ["MLFLOW_TRACKING_URI"] = address
    LineModel._apply = lambda self: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
    model, number = add_version(line, auroc)
    decide_and_carry_out(model, number, auroc)


def create_model(address: str, line: str, barrier: Any) -> None:
    os.environ["MLFLOW_TRACKING_URI"] = address
    barrier.wait(SECONDS)
    add_version(line, 0.5)


def race_once(address: str, line: str, auroc: float, barrier: Any, results: Path) -> None:
    """Register a version, and decide on the champion that the other process has read too."""
    os.environ["MLFLOW_TRACKING_URI"] = address
    model, number = add_version(line, auroc)
    decision, outdated = decide_again_and_again(model, number, auroc, lambda: barrier.wait(SECONDS))
    content = {"gate": decision.gate, "champion": decision.champion, "version": number, "outdated": outdated}
    results.write_text(json.dumps(content), encoding="utf-8")


def roll_back(address: str, line: str, barrier: Any, results: Path) -> None:
    """Roll back the champion that the other process has read too."""
    os.environ["MLFLOW_TRACKING_URI"] = address
    model = LineModel(line)
    standing = model.standing()
    barrier.wait(SECONDS)
    model.standing = lambda: standing  # type: ignore[method-assign]
    try:
        reported = " to ".join(model.rollback(by="ann", why=""))
    except InputError as error:
        reported = str(error)
    results.write_text(reported, encoding="utf-8")


def test_two_runs_at_once_leave_one_champion_that_both_decided_on(address: str, tmp_path: Path) -> None:
    """In every round both beat the champion: whoever is second must compare with the first, not with the former."""
    line, barrier = "racing", CONTEXT.Barrier(2)
    lower = [0.5 + 0.01 * index for index in range(ROUNDS)]
    higher = [auroc + 0.005 for auroc in lower]
    odd = [(high if index % 2 else low) for index, (low, high) in enumerate(zip(lower, higher, strict=True))]
    even = [(low if index % 2 else high) for index, (low, high) in enumerate(zip(lower, higher, strict=True))]
    paths = [tmp_path / "odd.json", tmp_path / "even.json"]
    codes = run_processes(
        (race, (address, line, odd, barrier, paths[0])), (race, (address, line, even, barrier, paths[1]))
    )
    assert codes == [0, 0]
    gates = list(zip(*[json.loads(path.read_text(encoding="utf-8")) for path in paths], strict=True))
    model = LineModel(line)
    figures = {str(version.version): float(version.tags["vigil.metric"][-6:]) for version in model.versions()}
    champions = [figures[entry.version] for entry in model.entries()]
    assert champions == sorted(set(champions)), "every champion beats the one that it replaced"
    assert [round(value, 3) for value in higher if round(value, 3) not in champions] == []
    for index, (first, second) in enumerate(gates):
        winner, loser = (first, second) if index % 2 else (second, first)
        assert winner in ("first", "promoted")
        came_first = round(lower[index], 3) in champions
        assert loser in (("first", "promoted") if came_first else ("refused",))
    assert sum(gate == "first" for pair in gates for gate in pair) == 1
    assert model.aliases()[CHAMPION] == model.entries()[-1].version


def test_of_two_runs_that_read_the_same_champion_the_second_decides_again(address: str, tmp_path: Path) -> None:
    line, barrier = "meeting", CONTEXT.Barrier(2)
    model, number = add_version(line, 0.5)
    decide_and_carry_out(model, number, 0.5)
    paths = {auroc: tmp_path / f"{auroc}.json" for auroc in (0.6, 0.7)}
    codes = run_processes(*[(race_once, (address, line, auroc, barrier, path)) for auroc, path in paths.items()])
    assert codes == [0, 0]
    worse, better = (json.loads(path.read_text(encoding="utf-8")) for path in paths.values())
    assert worse["outdated"] + better["outdated"] == 1
    assert better["gate"] == "promoted"
    if better["outdated"]:
        assert (worse["gate"], worse["champion"], better["champion"]) == ("promoted", number, worse["version"])
        moves = [number, worse["version"], better["version"]]
    else:
        assert (worse["gate"], worse["champion"], better["champion"]) == ("refused", better["version"], number)
        moves = [number, better["version"]]
    assert [entry.version for entry in model.entries()] == moves
    assert model.aliases() == {CHAMPION: better["version"], CHALLENGER: "3"}


def test_two_rollbacks_at_once_go_back_one_version(address: str, tmp_path: Path) -> None:
    line, barrier = "rolling", CONTEXT.Barrier(2)
    for auroc in (0.5, 0.6, 0.7):
        model, number = add_version(line, auroc)
        decide_and_carry_out(model, number, auroc)
    paths = [tmp_path / "first.txt", tmp_path / "second.txt"]
    assert run_processes(*[(roll_back, (address, line, barrier, path)) for path in paths]) == [0, 0]
    lost = "line: the champion of rolling was moved to version 2 meanwhile; run it again if that is not wanted"
    assert sorted(path.read_text(encoding="utf-8") for path in paths) == ["3 to 2", lost]
    assert [entry.version for entry in model.entries()] == ["1", "2", "3", "2"]
    assert model.aliases()[CHAMPION] == "2"


def test_process_that_dies_before_the_alias_blocks_nobody(address: str) -> None:
    line = "dying"
    model, number = add_version(line, 0.5)
    decide_and_carry_out(model, number, 0.5)
    assert run_processes((die_before_the_alias, (address, line, 0.9))) == [-signal.SIGKILL]
    assert (model.entries()[-1].version, model.aliases()[CHAMPION]) == ("2", "1")
    model, number = add_version(line, 0.7)
    assert decide_and_carry_out(model, number, 0.7).gate == "refused"
    assert model.aliases()[CHAMPION] == "2"


def test_model_is_created_once_with_one_history(address: str) -> None:
    client = MlflowClient()
    for index in range(3):
        line, barrier = f"created-{index}", CONTEXT.Barrier(2)
        codes = run_processes((create_model, (address, line, barrier)), (create_model, (address, line, barrier)))
        assert codes == [0, 0]
        (run,) = client.search_runs(
            [client.get_experiment_by_name(line).experiment_id], "tags.`vigil.stage` = 'champions'"
        )
        assert client.get_registered_model(line).tags["vigil.history_run"] == run.info.run_id
