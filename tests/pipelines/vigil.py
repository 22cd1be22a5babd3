"""What tests of the command line share: a finished command, and the check of a refusal."""

from collections.abc import Callable
from typing import NamedTuple


class Done(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


Vigil = Callable[..., Done]


def assert_refused(done: Done, expected: str) -> None:
    assert done.code == 2
    assert done.out == ""
    assert done.err.startswith("error: ")
    assert done.err.count("\n") == 1
    assert expected in done.err
