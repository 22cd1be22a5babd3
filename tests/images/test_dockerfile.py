"""What can be read from the Dockerfile without building it."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.stage.images import USER_ID
from images.build import ROOT

DOCKERFILE = ROOT / "images" / "Dockerfile"
HADOLINT = Path(sys.executable).with_name("hadolint")


@pytest.fixture(scope="module")
def instructions() -> list[str]:
    """The instructions, each in one line."""
    text = re.sub(r"\\\n", " ", DOCKERFILE.read_text(encoding="utf-8"))
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def final_stages(instructions: list[str]) -> dict[str, list[str]]:
    """Instructions of the stages that are images."""
    stages: dict[str, list[str]] = {}
    for line in instructions:
        if line.startswith("FROM "):
            stages[line.split()[-1]] = []
        elif stages:
            list(stages.values())[-1].append(line)
    return {name: stages[name] for name in ("cli", "mlflow", "serving", "generation", "detection")}


def test_images_run_as_the_numeric_user(final_stages: dict[str, list[str]]) -> None:
    for name, lines in final_stages.items():
        assert f"USER {USER_ID}:{USER_ID}" in lines, name


def test_labels_name_version_revision_and_licence(final_stages: dict[str, list[str]]) -> None:
    for name, lines in final_stages.items():
        (label,) = (line for line in lines if line.startswith("LABEL "))
        for key in ("title", "licenses", "version", "revision"):
            assert f"org.opencontainers.image.{key}=" in label, name


def test_nothing_needs_buildkit_or_has_an_entrypoint(instructions: list[str]) -> None:
    assert "# syntax" not in DOCKERFILE.read_text(encoding="utf-8")
    for line in instructions:
        assert not re.match(r"ENTRYPOINT|RUN --|COPY --(chmod|link|parents)|ADD ", line), line
        assert "<<" not in line, line


def test_every_installation_from_an_index_is_pinned_and_hashed(instructions: list[str]) -> None:
    installations = [line for line in instructions if "pip3" in line]
    assert installations
    for line in installations:
        assert "--require-hashes" in line or ("--no-build-isolation" in line and "--prefix /code . " in line)
        assert "--no-deps" in line
        assert "--no-cache-dir" in line


@pytest.mark.skipif(not shutil.which(HADOLINT), reason="hadolint is not installed (requirements/containers.txt)")
def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([HADOLINT, str(DOCKERFILE)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
