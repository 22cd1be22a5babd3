"""Tests of where a result comes from."""

import subprocess
from pathlib import Path

import pytest

from components.stage.provenance import git_revision, run_url, versions

ROOT = Path(__file__).resolve().parents[3]


def test_versions_are_those_of_the_installed_packages() -> None:
    assert versions()["kfp"] == "2.17.0"
    assert "torch" in versions()


def test_revision_is_that_of_the_checkout() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    assert git_revision() == subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_revision_of_an_image_is_what_it_was_built_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_GIT_REVISION", "0123abc")
    assert git_revision() == "0123abc"


def test_run_has_a_page_in_kubeflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_KFP_UI", "https://kubeflow.plant/pipeline/")
    assert run_url() == ""
    monkeypatch.setenv("VIGIL_RUN_ID", "1b2c")
    assert run_url() == "https://kubeflow.plant/pipeline/#/runs/details/1b2c"
