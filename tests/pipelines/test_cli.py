"""Tests of the command line's exit codes and messages."""

from pathlib import Path

import pytest

from components import __version__
from tests.pipelines.packages import documents
from tests.pipelines.vigil import Done, Vigil, assert_refused


def test_help_lists_the_commands(vigil: Vigil) -> None:
    done = vigil("--help")
    assert done.code == 0
    for command in ("run", "demo", "compile", "weights", "wordnet", "buckets"):
        assert command in done.out


def test_no_arguments_shows_the_help(vigil: Vigil) -> None:
    done = vigil()
    assert done.code == 2
    assert "Usage" in done.out + done.err


def test_version(vigil: Vigil) -> None:
    assert vigil("--version") == Done(code=0, out=f"{__version__}\n", err="")


def test_verbose_shows_where_an_error_comes_from(vigil: Vigil, tmp_path: Path) -> None:
    quiet = vigil("run", tmp_path / "line.yaml", "--workdir", tmp_path / "runs")
    verbose = vigil("--verbose", "run", tmp_path / "line.yaml", "--workdir", tmp_path / "runs")
    assert "Traceback" not in quiet.err
    assert "Traceback" in verbose.err
    assert verbose.code == 2
    assert verbose.err.endswith(quiet.err)


@pytest.mark.parametrize("arguments", [("train",), ("run",), ("run", "line.yaml"), ("compile",), ("weights", "--all")])
def test_wrong_usage(vigil: Vigil, arguments: tuple[str, ...]) -> None:
    assert vigil(*arguments).code == 2


@pytest.fixture
def image_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_IMAGE_REGISTRY", "registry.example/vision")


def test_compile_asks_for_the_registry_of_the_images(vigil: Vigil, tmp_path: Path) -> None:
    done = vigil("compile", "-o", tmp_path / "training.yaml")
    assert_refused(done, "VIGIL_IMAGE_REGISTRY: got '', expected registry and path in front of the images")


@pytest.mark.usefixtures("image_registry")
def test_compile_writes_a_package(vigil: Vigil, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    assert vigil("compile", "-o", path) == Done(code=0, out=f"{path}\n", err="")
    pipeline, platform = documents(path)
    assert pipeline["pipelineInfo"]["name"] == "vigil-training"
    assert set(platform) == {"platforms"}


@pytest.mark.usefixtures("image_registry")
def test_compile_refuses_another_suffix(vigil: Vigil, tmp_path: Path) -> None:
    path = tmp_path / "training.txt"
    assert_refused(vigil("compile", "-o", path), str(path))
    assert not path.exists()


@pytest.mark.usefixtures("image_registry")
def test_compile_refuses_a_missing_folder(vigil: Vigil, tmp_path: Path) -> None:
    assert_refused(vigil("compile", "-o", tmp_path / "missing" / "training.yaml"), str(tmp_path / "missing"))


def test_run_refuses_a_missing_line(vigil: Vigil, tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    assert_refused(vigil("run", path, "--workdir", tmp_path / "runs"), f"no file at {path}")
    assert not (tmp_path / "runs").exists()


def test_run_refuses_a_foreign_folder(vigil: Vigil, tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    path.write_text("name: bolts\nobject: bolt\ndataset: {uri: images}\n", encoding="utf-8")
    assert_refused(vigil("run", path, "--workdir", tmp_path), "is not empty and holds no run of a line")


def test_brackets_in_messages_are_literal(vigil: Vigil, tmp_path: Path) -> None:
    path = tmp_path / "line [red].yaml"
    path.write_text("name: '[bold]x[/]'\nobject: bolt\ndataset: {uri: images}\n", encoding="utf-8")
    done = vigil("run", path, "--workdir", tmp_path / "runs")
    assert_refused(done, f"{path}: name: got '[bold]x[/]', expected")
