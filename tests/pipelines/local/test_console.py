"""Tests of what a person sees of a local run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.local.console import StageFailed, StageLog

FAILED = "[vigil] vqgan: failure: RuntimeError: no luck: none\n"


def open_log(folder: Path) -> StageLog:
    return StageLog(folder / "run.log")


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """Returns the lines printed since the last call."""

    def read() -> list[str]:
        return capsys.readouterr().out.splitlines()

    return read


def test_everything_is_in_the_file(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    pieces = ["Executing task 'ingest'\n", "[vigil] ingestion: started\n", "a line without an end"]
    for piece in pieces:
        assert log.write(piece) == len(piece)
    log.flush()
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == "".join(pieces)


def test_a_later_run_appends(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.write("first\n")
    log.close()
    second = open_log(tmp_path)
    second.write("second\n")
    second.close()
    assert (tmp_path / "run.log").read_text(encoding="utf-8") == "first\nsecond\n"


def test_only_lines_of_stages_are_printed(tmp_path: Path, printed: Callable[[], list[str]]) -> None:
    log = open_log(tmp_path)
    log.write("Executing task 'ingest'\n    [vigil] ingestion: started\nwarning: vigil\n[vigil] ingestion: done\n")
    assert printed() == ["ingestion: started", "ingestion: done"]


def test_pieces_are_joined_to_lines(tmp_path: Path, printed: Callable[[], list[str]]) -> None:
    log = open_log(tmp_path)
    for piece in ("[vig", "il] inges", "tion: sta", "rted"):
        log.write(piece)
        assert printed() == []
    log.write("\n[vigil] ing")
    assert printed() == ["ingestion: started"]


def test_steps_are_throttled_and_the_last_is_shown(tmp_path: Path, printed: Callable[[], list[str]]) -> None:
    log = open_log(tmp_path)
    for step in range(1, 6):
        log.write(f"[vigil] vqgan: step {step}/5, total=1\n")
    assert printed() == ["vqgan: step 1/5, total=1", "vqgan: step 5/5, total=1"]


def test_markup_is_shown_literally(tmp_path: Path, printed: Callable[[], list[str]]) -> None:
    log = open_log(tmp_path)
    log.write("[vigil] prompts: [bold]crack[/bold] [/] [link=x]\n")
    assert printed() == ["prompts: [bold]crack[/bold] [/] [link=x]"]


def test_long_lines_are_not_wrapped(tmp_path: Path, printed: Callable[[], list[str]]) -> None:
    log = open_log(tmp_path)
    log.write(f"[vigil] prompts: {'word ' * 100}end\n")
    assert printed() == [f"prompts: {'word ' * 100}end"]


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        (FAILED, ("vqgan", "failure", "RuntimeError: no luck: none")),
        (
            "[vigil] detection patchcore/none: failure: killed\n",
            ("detection patchcore/none", "failure", "killed"),
        ),
        (
            "[vigil] ingestion: input-error: image a.png: damaged (x)\n",
            ("ingestion", "input-error", "image a.png: damaged (x)"),
        ),
    ],
)
def test_failure_is_recorded_and_not_printed(
    tmp_path: Path, printed: Callable[[], list[str]], line: str, failure: tuple[str, str, str]
) -> None:
    log = open_log(tmp_path)
    log.write(line)
    assert log.failure == failure
    assert printed() == []


def test_first_failure_is_kept(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.write(FAILED)
    log.write("[vigil] selection: failure: later\n")
    assert log.failure == ("vqgan", "failure", "RuntimeError: no luck: none")


def test_no_task_starts_after_a_failure(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.write("Executing task 'generate'\n")
    log.write(FAILED)
    log.write("Task 'generate' finished with status FAILURE\n")
    with pytest.raises(StageFailed):
        log.write("Executing task 'select'\n")


def test_no_task_starts_after_a_failure_that_only_the_engine_saw(tmp_path: Path) -> None:
    log, answers = open_log(tmp_path), [False, False, True]
    log.watch(lambda: answers.pop(0))
    log.write("Executing task 'ingest'\n")
    log.require_success()
    with pytest.raises(StageFailed):
        log.write("Executing task 'augment'\n")
    assert log.failed_task == "ingest"
    with pytest.raises(StageFailed):
        log.require_success()


def test_task_whose_failure_only_the_engine_saw_is_no_success(tmp_path: Path) -> None:
    log, answers = open_log(tmp_path), [False, True]
    log.watch(lambda: answers.pop(0))
    log.write("Executing task 'fingerprint'\n")
    with pytest.raises(StageFailed):
        log.write("Task \x1b[96m'fingerprint'\x1b[0m finished with status \x1b[92mSUCCESS\x1b[0m\n")
    assert log.failed_task == "fingerprint"
