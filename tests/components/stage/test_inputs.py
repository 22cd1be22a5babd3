"""A task whose input artifact has no content any more says so, and what to do."""

import json
from pathlib import Path

import pytest

from components.errors import InputError
from components.stage import inputs
from components.stage.inputs import check_inputs


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the launcher puts what it fetches."""
    monkeypatch.setattr(inputs, "_MOUNTS", {"minio": f"{tmp_path}/"})
    return tmp_path


def arguments(*uris: str) -> list[str]:
    """Arguments of KFP's executor, with a list of artifacts as of a loop."""
    content = {"inputs": {"artifacts": {"detectors": {"artifacts": [{"uri": uri} for uri in uris]}}}}
    return ["executor_main.py", "--executor_input", json.dumps(content), "--function_to_execute", "evaluation"]


def test_fetched_folders_and_files_are_taken(store: Path) -> None:
    (store / "bucket" / "one").mkdir(parents=True)
    (store / "bucket" / "one" / "model").touch()
    (store / "bucket" / "two").touch()
    check_inputs(arguments("minio://bucket/one", "minio://bucket/two"))


@pytest.mark.parametrize("made", ["", "one", "one/"])
def test_an_expired_artifact_is_named(store: Path, made: str) -> None:
    if made:
        (store / "bucket" / made).mkdir(parents=True)
    with pytest.raises(InputError, match=r"^artifact detectors: nothing is left of minio://bucket/one.*vigil prune"):
        check_inputs(arguments("minio://bucket/one"))


def test_other_processes_and_local_artifacts_are_not_looked_at() -> None:
    check_inputs(["vigil", "run"])
    check_inputs(["--executor_input"])
    check_inputs(["x", "--executor_input", "{}"])
    check_inputs(arguments("/missing/folder"))
