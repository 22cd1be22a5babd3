"""Tests of what a local run's stages inherit, and of how its end is recorded, without running any stage."""

import os
from pathlib import Path

import pytest

from components.tracking.events import KFP_MLFLOW_RUN, SPOOL, TRACKING_URI
from pipelines.local.run import StageError, _environment, _recorded
from pipelines.local.workdir import Workdir


def test_stages_inherit_no_run_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KFP_MLFLOW_RUN, "a-run-of-the-shell")
    with _environment(Workdir(root=tmp_path)) as address:
        assert KFP_MLFLOW_RUN not in os.environ
        assert os.environ[TRACKING_URI] == address
    assert os.environ[KFP_MLFLOW_RUN] == "a-run-of-the-shell"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workdir:
    """A folder in which nothing can be recorded: a file is in the way."""
    folder = Workdir(root=tmp_path)
    folder.spool.write_text("in the way", encoding="utf-8")
    monkeypatch.setenv(TRACKING_URI, folder.tracking_uri)
    monkeypatch.setenv(SPOOL, str(folder.spool))
    return folder


def test_record_that_fails_leaves_a_run_finished(folder: Workdir, capsys: pytest.CaptureFixture[str]) -> None:
    with _recorded("bolts", "run-1", folder):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("[vigil] the run's end is not recorded in MLflow (FileExistsError: ")


def test_record_that_fails_leaves_a_runs_own_error(folder: Workdir) -> None:
    with pytest.raises(StageError, match="no luck"), _recorded("bolts", "run-1", folder):
        raise StageError("no luck")
