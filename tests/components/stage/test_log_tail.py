"""Tests of the last lines of a process."""

import sys

import pytest

from components.stage.log_tail import last_lines


def test_both_streams_are_kept_and_passed_on(capsys: pytest.CaptureFixture[str]) -> None:
    with last_lines() as lines:
        print("one")
        print("two", file=sys.stderr)
    assert list(lines) == ["one\n", "two\n"]
    assert tuple(capsys.readouterr()) == ("one\n", "two\n")


def test_only_the_last_lines_are_kept() -> None:
    with last_lines() as lines:
        for number in range(200):
            print(number)
    assert list(lines) == [f"{number}\n" for number in range(140, 200)]


def test_progress_bar_leaves_its_last_state() -> None:
    with last_lines() as lines:
        for percent in (0, 50, 100):
            print(f"\r{percent} %", end="")
        print()
    assert list(lines) == ["100 %\n"]


def test_streams_are_put_back_after_an_error() -> None:
    before = (sys.stdout, sys.stderr)
    with pytest.raises(ValueError, match="no luck"), last_lines():
        raise ValueError("no luck")
    assert (sys.stdout, sys.stderr) == before
