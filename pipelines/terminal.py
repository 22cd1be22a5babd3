"""The two consoles of the command line, and how a command fails."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from rich.console import Console
from rich.markup import escape

_WIDTH_OF_A_PIPE = 240
"""Columns where no terminal cuts a table: nothing is shortened in what another program reads."""

console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_OF_A_PIPE)
"""What a command was asked for."""
errors = Console(stderr=True, highlight=False)
"""The one line of a failure."""


def fail(message: str, code: int) -> NoReturn:
    """End the command with one line and an exit code."""
    errors.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}", soft_wrap=True)
    raise SystemExit(code)


@contextmanager
def resumable() -> Iterator[None]:
    """Say how an interrupted run goes on; typer would end it without a word."""
    try:
        yield
    except KeyboardInterrupt:
        fail("interrupted; run the same command again to go on", 130)
