"""The champion of a line in a real MLflow database: moved, rolled back, repaired, taken over."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.errors import InputError
from components.registry.gate import GateRefusedError
from components.registry.promotion import CHALLENGER, CHAMPION, LineModel, line_names
from components.tracking.client import errors_in_one_line
from tests.components.versions import add_version, decide_and_carry_out
from tests.conftest import NewDatabase


@pytest.fixture(scope="module")
def database(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    return new_database(tmp_path_factory.mktemp("mlflow"))


@pytest.fixture
def client(database: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setattr("components.registry.promotion.SETTLE_SECONDS", 0.01)
    return MlflowClient()


@pytest.fixture
def line(request: pytest.FixtureRequest) -> str:
    """A line that no other test uses."""
    return str(request.node.name)


def aliases(client: MlflowClient, line: str) -> dict[str, str]:
    return {alias: str(version) for alias, version in client.get_registered_model(line).aliases.items()}


def run_line(line: str, auroc: float) -> str:
    """Register a version and let the gate decide; returns what it decided."""
    model, number = add_version(line, auroc)
    return decide_and_carry_out(model, number, auroc).gate


def test_better_versions_replace_the_champion_and_worse_ones_do_not(client: MlflowClient, line: str) -> None:
    assert [run_line(line, auroc) for auroc in (0.8, 0.9, 0.85)] == ["first", "promoted", "refused"]
    assert aliases(client, line) == {CHAMPION: "2", CHALLENGER: "3"}
    tags = {number: client.get_model_version(line, number).tags for number in ("1", "2", "3")}
    assert [tags[number]["vigil.gate"] for number in tags] == ["first", "promoted", "refused"]
    assert tags["3"]["vigil.gate_reasons"].startswith("min_champion_gain: 0.85, champion 0.9")
    assert tags["2"]["vigil.champion_by"] == "run r1"
    assert tags["2"]["vigil.champion_at"].endswith("+00:00")
    assert tags["2"]["vigil.champion_why"] == tags["2"]["vigil.gate_reasons"]


def test_decision_on_an_outdated_champion_is_not_carried_out(client: MlflowClient, line: str) -> None:
    model, first = add_version(line, 0.8)
    _, second = add_version(line, 0.9)
    outdated = model.standing()
    assert model.move(outdated, "first", second, by="b", why="")
    assert not model.move(outdated, "first", first, by="a", why="")
    assert aliases(client, line)[CHAMPION] == second
    assert decide_and_carry_out(model, first, 0.8).gate == "refused"


def test_rollback_goes_back_step_by_step(client: MlflowClient, line: str) -> None:
    for auroc in (0.7, 0.8, 0.9):
        run_line(line, auroc)
    model = LineModel(line)
    assert model.rollback(by="ann", why="too many false alarms") == ("3", "2")
    assert client.get_model_version(line, "2").tags["vigil.champion_why"] == "too many false alarms"
    assert model.rollback(by="ann", why="") == ("2", "1")
    assert aliases(client, line)[CHAMPION] == "1"
    with pytest.raises(InputError, match="no champion before version 1"):
        model.rollback(by="ann", why="")


def test_promotion_after_a_rollback_goes_back_to_what_was_there(client: MlflowClient, line: str) -> None:
    for auroc in (0.7, 0.8):
        run_line(line, auroc)
    model = LineModel(line)
    model.rollback(by="ann", why="")
    assert run_line(line, 0.75) == "promoted"
    assert model.rollback(by="ann", why="") == ("3", "1")


def test_rollback_passes_over_versions_that_were_deleted(client: MlflowClient, line: str) -> None:
    for auroc in (0.7, 0.8, 0.9):
        run_line(line, auroc)
    client.delete_model_version(line, "2")
    assert LineModel(line).rollback(by="ann", why="") == ("3", "1")


def test_move_that_was_interrupted_is_finished(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the process dies between the entry and the alias."""
    run_line(line, 0.7)
    model, number = add_version(line, 0.9)
    with monkeypatch.context() as dying:
        dying.setattr(LineModel, "_apply", lambda self: None)
        assert model.move(model.standing(), "promoted", number, by="a", why="")
    assert aliases(client, line)[CHAMPION] == "1"
    assert LineModel(line).standing().champion == number
    assert aliases(client, line)[CHAMPION] == number


def test_alias_moved_by_hand_is_taken_over(client: MlflowClient, line: str) -> None:
    for auroc in (0.7, 0.8, 0.9):
        run_line(line, auroc)
    client.set_registered_model_alias(line, CHAMPION, "1")
    model = LineModel(line)
    assert model.standing().champion == "1"
    assert [(entry.action, entry.version) for entry in model.entries()][-1] == ("outside", "1")
    assert run_line(line, 0.75) == "promoted"
    assert aliases(client, line)[CHAMPION] == "4"


def test_champion_that_was_deleted_leaves_none(client: MlflowClient, line: str) -> None:
    run_line(line, 0.9)
    client.delete_model_version(line, "1")
    assert run_line(line, 0.5) == "first"
    assert aliases(client, line) == {CHAMPION: "2", CHALLENGER: "2"}


def test_person_promotes_by_the_gate_or_by_force(client: MlflowClient, line: str) -> None:
    run_line(line, 0.9)
    run_line(line, 0.8)
    model = LineModel(line)
    with pytest.raises(GateRefusedError, match=r"refuses version 2 of .*: min_champion_gain: 0\.8, champion 0\.9"):
        model.promote("2", by="ann", why="", force=False)
    assert aliases(client, line)[CHAMPION] == "1"
    assert model.promote("2", by="ann", why="trial", force=True) == "1"
    tags = client.get_model_version(line, "2").tags
    assert (tags["vigil.champion_action"], tags["vigil.champion_by"], tags["vigil.champion_why"]) == (
        "forced",
        "ann",
        "trial",
    )
    assert model.promote("1", by="ann", why="as it was", force=False) == "2"
    tags = client.get_model_version(line, "1").tags
    assert tags["vigil.champion_action"] == "promoted"
    assert tags["vigil.champion_why"].startswith("as it was: all ")


def test_promotion_names_what_is_wrong(client: MlflowClient, line: str) -> None:
    run_line(line, 0.9)
    model, _ = add_version(line, 0.95, digest="e" * 64)
    client.create_model_version(line, "elsewhere", None)
    for number, message in {
        "9": "no version '9', expected one of 1, 2, 3",
        "1": "version: got '1', expected a version of .* that is not its champion",
        "2": "2 was measured on another test split than champion 1",
        "3": "3 has no measurement, expected one that a run registered",
    }.items():
        with pytest.raises(InputError, match=message):
            model.promote(number, by="ann", why="", force=False)
    with pytest.raises(InputError, match=r"no registered model 'bolts', expected one of: .*names"):
        LineModel("bolts")
    assert line in line_names()


def test_model_of_another_tool_is_not_touched(client: MlflowClient, line: str) -> None:
    client.create_registered_model(line)
    with pytest.raises(InputError, match="was not made by vigil"):
        LineModel(line)
    assert line not in line_names()


def test_versions_from_before_the_history_get_one(client: MlflowClient, line: str) -> None:
    client.create_registered_model(line)
    run = client.create_run(client.create_experiment(line))
    client.create_model_version(line, "elsewhere", run.info.run_id)
    client.set_registered_model_alias(line, CHAMPION, "1")
    assert LineModel(line).standing().champion == "1"
    assert client.get_registered_model(line).tags["vigil.history_run"] == run.info.run_id


def test_long_reasons_are_cut_until_mlflow_stores_them_whole(client: MlflowClient, line: str) -> None:
    """Characters that JSON escapes, that UTF-8 cannot write, and a long name of a person."""
    run_line(line, 0.7)
    model, number = add_version(line, 0.9)
    for why in ("störung " * 1000, '"\\\n' * 1000, "\x01" * 3000, "\udcff reason"):
        champion = model.standing().champion
        other = number if champion == "1" else "1"
        assert model.move(model.standing(), "forced", other, by="ä" * 5000, why=why)
        entry = model.entries()[-1]
        assert (entry.version, entry.action) == (other, "forced")
        assert 0 < len(entry.why) <= 2000
    assert [entry.why[:8] for entry in model.entries()[1:]] == ["störung ", '"\\\n"\\\n"\\', "\x01" * 8, "? reason"]
    assert model.rollback(by="ann", why="") == ("1", "2")


def test_unreadable_entry_is_reported_and_the_alias_counts(
    client: MlflowClient, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for auroc in (0.7, 0.8):
        run_line(line, auroc)
    history = client.get_registered_model(line).tags["vigil.history_run"]
    client.log_param(history, "champion.000003", '{"action": "promoted", "by": "run 3", "why": "\\u00')
    model = LineModel(line)
    assert model.standing().champion == "2"
    assert [(entry.action, entry.version) for entry in model.entries()[2:]] == [("unreadable", ""), ("outside", "2")]
    reported = [text for text in capsys.readouterr().err.splitlines() if "cannot be read" in text]
    assert len(reported) == 1
    assert reported[0].startswith(f"[vigil] entry champion.000003 of the history of {line}'s champions cannot be read")
    assert run_line(line, 0.9) == "promoted"
    assert model.rollback(by="ann", why="") == ("3", "2")
    assert model.rollback(by="ann", why="") == ("2", "1")
    assert aliases(client, line)[CHAMPION] == "1"


def test_deleted_history_is_restored(client: MlflowClient, line: str) -> None:
    for auroc in (0.7, 0.8):
        run_line(line, auroc)
    history = client.get_registered_model(line).tags["vigil.history_run"]
    client.delete_run(history)
    assert LineModel(line).rollback(by="ann", why="") == ("2", "1")
    assert client.get_run(history).info.lifecycle_stage == "active"


def test_history_that_is_gone_starts_again_with_the_alias(client: MlflowClient, line: str) -> None:
    for auroc in (0.7, 0.8):
        run_line(line, auroc)
    client.set_registered_model_tag(line, "vigil.history_run", "0" * 32)
    assert run_line(line, 0.75) == "refused"
    model = LineModel(line)
    assert [(entry.number, entry.action, entry.version) for entry in model.entries()] == [(1, "outside", "2")]
    assert run_line(line, 0.9) == "promoted"
    assert LineModel(line).rollback(by="ann", why="") == ("4", "2")


def test_rollback_that_comes_second_moves_nothing(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have read the same champion; the second must not go back twice."""
    for auroc in (0.7, 0.8, 0.9):
        run_line(line, auroc)
    slower, faster = LineModel(line), LineModel(line)
    outdated = slower.standing()
    assert faster.rollback(by="ann", why="") == ("3", "2")
    monkeypatch.setattr(slower, "standing", lambda: outdated)
    with pytest.raises(InputError, match=rf"champion of {line} was moved to version 2 meanwhile; run it again"):
        slower.rollback(by="bob", why="")
    assert aliases(client, line)[CHAMPION] == "2"


def test_challenger_never_goes_back_to_an_older_version(client: MlflowClient, line: str) -> None:
    older, _ = add_version(line, 0.7)
    add_version(line, 0.8)
    older.challenge()
    assert aliases(client, line)[CHALLENGER] == "2"


def test_challenger_that_was_registered_meanwhile_keeps_the_alias(
    client: MlflowClient, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slower run sets the alias after the faster one, for the older version, and looks again."""
    slower, _ = add_version(line, 0.7)
    newest, seen = slower._newest, []

    def read_too_early() -> str:
        seen.append(newest())
        if len(seen) == 1:
            add_version(line, 0.8)
        return seen[-1]

    monkeypatch.setattr(slower, "_newest", read_too_early)
    slower.challenge()
    assert seen == ["1", "2", "2"]
    assert aliases(client, line)[CHALLENGER] == "2"


def test_one_line_that_names_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:secret@127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(RuntimeError, match=r"^MLflow: ") as caught, errors_in_one_line():
        LineModel("bolts")
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
