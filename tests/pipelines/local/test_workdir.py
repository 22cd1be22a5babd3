"""Tests of the folder of a line's local runs."""

import subprocess
import sys
from pathlib import Path

import pytest

from components.artifacts import read_json
from components.errors import InputError
from pipelines.local.workdir import FINISHED, Workdir, open_workdir

HOLDER = """
import sys
from pathlib import Path
from pipelines.local.workdir import open_workdir

with open_workdir(Path(sys.argv[1]), "bolts"):
    print("locked", flush=True)
    sys.stdin.read()
"""


def begin(root: Path, line: str = "bolts") -> str:
    with open_workdir(root, line) as folder:
        return folder.begin(line)


def end(root: Path, run_id: str, status: str) -> None:
    with open_workdir(root, "bolts") as folder:
        folder.set_status("bolts", run_id, status)


def refusal(root: Path, line: str = "bolts") -> str:
    with pytest.raises(InputError) as caught, open_workdir(root, line):
        pass
    assert str(root) in str(caught.value)
    return str(caught.value)


def test_missing_folder_is_created(tmp_path: Path) -> None:
    root = tmp_path / "runs" / "bolts"
    with open_workdir(root, "bolts") as folder:
        assert folder.root == root
        assert root.is_dir()


def test_relative_folder_is_resolved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with open_workdir(Path("runs"), "bolts") as folder:
        assert folder.root == tmp_path / "runs"
        assert folder.tracking_uri == f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"


def test_empty_folder_and_opened_folder_are_accepted(tmp_path: Path) -> None:
    for _ in range(2):
        with open_workdir(tmp_path, "bolts"):
            pass


def test_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs"
    path.write_text("")
    assert "is a file, expected a folder" in refusal(path)


def test_foreign_folder_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("draft")
    assert "is not empty and holds no run of a line" in refusal(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_folder_of_another_line_is_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    assert "holds runs of line 'bolts', expected 'nuts'" in refusal(tmp_path, "nuts")


def test_folder_in_use_is_refused(tmp_path: Path) -> None:
    with open_workdir(tmp_path, "bolts"):
        assert "is in use by another run" in refusal(tmp_path)


def test_lock_of_another_process_holds_until_it_dies(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        assert "is in use by another run" in refusal(tmp_path)
        holder.kill()
    assert begin(tmp_path)


def test_finished_run_is_followed_by_a_new_one(tmp_path: Path) -> None:
    first = begin(tmp_path)
    end(tmp_path, first, FINISHED)
    assert begin(tmp_path) != first


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_unfinished_run_goes_on(tmp_path: Path, status: str) -> None:
    first = begin(tmp_path)
    end(tmp_path, first, status)
    assert begin(tmp_path) == first


def test_state_is_remembered(tmp_path: Path) -> None:
    run_id = begin(tmp_path)
    assert read_json(tmp_path / "vigil.json") == {"line": "bolts", "run_id": run_id, "status": "RUNNING"}


def test_published_file_replaces_the_earlier_one(tmp_path: Path) -> None:
    folder, source = Workdir(root=tmp_path), tmp_path / "source.html"
    for text in ("first", "second"):
        source.write_text(text)
        folder.publish(source, folder.report)
        assert folder.report.read_text() == text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.html", "source.html"]


def test_failed_publishing_keeps_the_earlier_file(tmp_path: Path) -> None:
    folder = Workdir(root=tmp_path)
    folder.report.write_text("first")
    with pytest.raises(FileNotFoundError):
        folder.publish(tmp_path / "missing.html", folder.report)
    assert folder.report.read_text() == "first"
