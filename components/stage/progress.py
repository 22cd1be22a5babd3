"""How a long computation tells how far it is."""

from collections.abc import Callable, Mapping

OnStep = Callable[[int, int, Mapping[str, float]], None]
"""Called after every step with its number, counted from 1, their number, and what was measured."""


def untold(step: int, total: int, scalars: Mapping[str, float]) -> None:
    """Tell nobody."""
