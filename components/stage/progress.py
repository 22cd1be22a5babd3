"""How a long computation reports its steps."""

from collections.abc import Callable, Mapping

OnStep = Callable[[int, int, Mapping[str, float]], None]
"""Called after every step with its number, counted from 1, their number, and what was measured."""


def ignore_progress(step: int, total: int, scalars: Mapping[str, float]) -> None:
    """An `OnStep` that reports nothing."""
