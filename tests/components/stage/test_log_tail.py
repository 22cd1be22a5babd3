"""Tests of the last lines of a process."""

import sys

import pytest

from components.stage.log_tail import LogTail


def test_both_streams_are_kept_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    with LogTail() as log:
        print("one")
        print("two", file=sys.stderr)
    assert log.text() == "one\ntwo\n"
    assert tuple(capsys.readouterr()) == ("one\n", "two\n")


def test_only_the_last_lines_are_kept() -> None:
    with LogTail() as log:
        for number in range(200):
            print(number)
    assert log.text().splitlines() == [str(number) for number in range(140, 200)]


def test_progress_bar_leaves_its_last_state() -> None:
    with LogTail() as log:
        for percent in (0, 50, 100):
            print(f"\r{percent} %", end="")
        print()
    assert log.text() == "100 %\n"


def test_streams_are_put_back_after_an_error() -> None:
    before = (sys.stdout, sys.stderr)
    with pytest.raises(ValueError, match="no luck"), LogTail():
        raise ValueError("no luck")
    assert (sys.stdout, sys.stderr) == before
