"""Tests of the command line's exit codes and messages."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from components import __version__
from components.weights import manifest
from pipelines.cli import main


class Done(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


Vigil = Callable[..., Done]


@pytest.fixture
def vigil(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Vigil:
    def run(*arguments: str | Path) -> Done:
        monkeypatch.setattr("sys.argv", ["vigil", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        out, err = capsys.readouterr()
        return Done(code=int(caught.value.code or 0), out=out, err=err)

    return run


def assert_refused(done: Done, expected: str) -> None:
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert expected in done.err


def test_help_lists_the_commands(vigil: Vigil) -> None:
    done = vigil("--help")
    assert done.code == 0
    for command in ("run", "demo", "compile", "weights", "wordnet"):
        assert command in done.out


def test_no_arguments_shows_the_help(vigil: Vigil) -> None:
    done = vigil()
    assert done.code == 2
    assert "Usage" in done.out + done.err


def test_version(vigil: Vigil) -> None:
    assert vigil("--version") == Done(code=0, out=f"{__version__}\n", err="")


@pytest.mark.parametrize("arguments", [("train",), ("run",), ("run", "line.yaml"), ("compile",), ("weights", "--all")])
def test_wrong_usage(vigil: Vigil, arguments: tuple[str, ...]) -> None:
    assert vigil(*arguments).code == 2


def test_compile_writes_a_package(vigil: Vigil, tmp_path: Path) -> None:
    path = tmp_path / "training.yaml"
    assert vigil("compile", "-o", path) == Done(code=0, out=f"{path}\n", err="")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["pipelineInfo"]["name"] == "vigil-training"


def test_compile_refuses_another_suffix(vigil: Vigil, tmp_path: Path) -> None:
    path = tmp_path / "training.txt"
    assert_refused(vigil("compile", "-o", path), str(path))
    assert not path.exists()


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


def test_weights_lists_the_manifest(vigil: Vigil) -> None:
    done = vigil("weights")
    assert done.code == 0
    lines = done.out.splitlines()
    assert len(lines) == len(manifest())
    for line, entry in zip(lines, manifest().values(), strict=True):
        assert line == f"{entry.name}  {entry.licence}  sha256={entry.sha256}  {entry.uri}"
