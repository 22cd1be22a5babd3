"""When an engine can be started, and that commands are run with the one that answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from images import engine
from images.build import ROOT

CLIENT = """#!/bin/sh
exit {code}
"""


def run(folder: Path, client_answers: bool, *command: str) -> "subprocess.CompletedProcess[str]":
    client = folder / "docker"
    client.write_text(CLIENT.format(code=0 if client_answers else 1))
    client.chmod(0o755)
    return subprocess.run(
        [sys.executable, "-m", "images.engine", *command],
        cwd=ROOT,
        env={**os.environ, "DOCKER": str(client)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("code", [0, 3])
def test_command_runs_with_the_engine_that_answers(tmp_path: Path, code: int) -> None:
    done = run(tmp_path, True, "sh", "-c", f"echo built; exit {code}")
    assert (done.returncode, done.stdout, done.stderr) == (code, "built\n", "")


def test_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(engine, "DAEMON", str(tmp_path / "dockerd"))
    monkeypatch.setattr(engine, "DOCKER", sys.executable)
    assert engine.missing() == f"{tmp_path}/dockerd is not installed (Debian's packages docker.io and mmdebstrap)"


def test_other_users_get_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert engine.missing() == "starting a Docker engine needs root on Linux"
