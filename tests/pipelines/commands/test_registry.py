"""`vigil registry` on a real MLflow database."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from components.registry.promotion import LineModel
from tests.components.versions import add_version, decide_and_carry_out
from tests.conftest import NewDatabase
from tests.pipelines.vigil import Vigil, assert_refused


@pytest.fixture(scope="module")
def database(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two lines: `bolts` with three versions, of which the second is the champion, and `nuts` with one."""
    uri = new_database(tmp_path_factory.mktemp("mlflow"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MLFLOW_TRACKING_URI", uri)
        for line, auroc in (("bolts", 0.8), ("bolts", 0.9), ("bolts", 0.85), ("nuts", 0.7)):
            model, number = add_version(line, auroc)
            decide_and_carry_out(model, number, auroc)
    return uri


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.terminal.console.width", 200)


def rows(out: str) -> list[list[str]]:
    """Cells of the table's rows that have a version."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()]
    return [row for row in cells if row and row[0].isdigit()]


def champion(uri: str, line: str) -> str:
    return str(MlflowClient(uri).get_model_version_by_alias(line, "champion").version)


def test_list_shows_the_versions_of_a_line(vigil: Vigil, database: str) -> None:
    done = vigil("registry", "list", "bolts", "--tracking-uri", database)
    assert (done.code, done.err) == (0, "")
    assert [row[:6] for row in rows(done.out)] == [
        ["3", "challenger", "image_auroc=0.8500", "none", "d" * 12, "refused"],
        ["2", "champion", "image_auroc=0.9000", "none", "d" * 12, "promoted"],
        ["1", "", "image_auroc=0.8000", "none", "d" * 12, "first"],
    ]
    assert all(row[6].startswith("20") and row[7] == "r1" for row in rows(done.out))


def test_list_without_a_line_shows_all(vigil: Vigil, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    done = vigil("registry", "list")
    assert [row[0] for row in rows(done.out)] == ["3", "2", "1", "1"]
    assert "nuts" in done.out


def test_promotion_and_rollback(vigil: Vigil, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    refused = vigil("registry", "promote", "bolts", "3")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err.startswith("error: the gate refuses version 3 of bolts: min_champion_gain: 0.85, champion 0.9")
    assert refused.err.count("\n") == 1
    assert champion(database, "bolts") == "2"

    forced = vigil("registry", "promote", "bolts", "3", "--force", "--reason", "fewer false alarms")
    assert (forced.code, forced.out) == (0, "bolts: champion is version 3, was 2\n")
    assert champion(database, "bolts") == "3"
    entry = LineModel("bolts").entries()[-1]
    assert (entry.action, entry.why) == ("forced", "fewer false alarms")
    assert entry.by
    assert MlflowClient().get_model_version("bolts", "3").tags["vigil.champion_by"] == entry.by

    for before, after in (("3", "2"), ("2", "1")):
        done = vigil("registry", "rollback", "bolts")
        assert (done.code, done.out) == (0, f"bolts: champion is version {after}, was {before}\n")
        assert champion(database, "bolts") == after
    assert_refused(vigil("registry", "rollback", "bolts"), "bolts has no champion before version 1")

    done = vigil("registry", "promote", "bolts", "2")
    assert (done.code, done.out) == (0, "bolts: champion is version 2, was 1\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("list", "screws"), "line: MLflow has no registered model 'screws', expected one of: bolts, nuts"),
        (("promote", "nuts", "7"), "version: nuts has no version '7', expected one of 1"),
        (("promote", "nuts", "latest"), "version: nuts has no version 'latest', expected one of 1"),
        (("promote", "nuts", "1", "--force"), "version: got '1', expected a version of nuts that is not its champion"),
        (("rollback", "nuts"), "nuts has no champion before version 1"),
    ],
)
def test_bad_input(vigil: Vigil, database: str, arguments: tuple[str, ...], message: str) -> None:
    assert_refused(vigil("registry", *arguments, "--tracking-uri", database), message)


def test_no_mlflow(vigil: Vigil, tmp_path: Path) -> None:
    assert_refused(vigil("registry", "list"), "tracking URI: got none, expected --tracking-uri or MLFLOW_TRACKING_URI")
    missing = tmp_path / "mlflow.db"
    done = vigil("registry", "list", "--tracking-uri", f"sqlite:///{missing}")
    assert_refused(done, f"tracking URI: no database at {missing}")
    assert not missing.exists()


def test_mlflow_out_of_reach(vigil: Vigil, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = vigil("registry", "list", "bolts", "--tracking-uri", "http://ann:secret@127.0.0.1:9")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("error: MLflow: ")
    assert done.err.count("\n") == 1
    assert "secret" not in done.err
