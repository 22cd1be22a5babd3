"""Compares what a test found with the numbers of a file, all of them before it fails.

Texts, whole numbers, booleans and nulls are compared exactly, and floating-point numbers to a tolerance: a processor
with other vector units, or another number of threads, adds up the same numbers in another order.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NUMBERS = Path(__file__).parent / "numbers"
_DIGITS = 8


@dataclass(frozen=True, kw_only=True)
class Tolerance:
    """How far a floating-point number may be from the golden one: the larger of both."""

    relative: float = 0.0
    absolute: float = 0.0
    named: "Mapping[str, Tolerance]" = field(default_factory=dict)
    """Tolerances of the numbers that have one of these names, in place of this one."""

    def of(self, place: str) -> "Tolerance":
        """Tolerance of the leaf at a place, by the last part of it."""
        return self.named.get(place.rpartition("/")[2], self)


@dataclass(frozen=True)
class Golden:
    """The files of golden numbers, rewritten by `--regenerate-golden`."""

    regenerate: bool

    def check(self, name: str, found: Any, tolerance: Tolerance) -> None:
        """Compare JSON-like content with that of the file of a name."""
        path = NUMBERS / f"{name}.json"
        if self.regenerate:
            path.write_text(json.dumps(_rounded(found), indent=1) + "\n", encoding="utf-8")
        expected = json.loads(path.read_text(encoding="utf-8"))
        assert differences(expected, found, tolerance) == []


def differences(expected: Any, found: Any, tolerance: Tolerance) -> list[str]:
    """One line for each leaf that differs by more than the tolerance, or that only one of both has."""
    golden, own = dict(_leaves(expected)), dict(_leaves(found))
    missing = [f"{place}: is missing, expected {golden[place]!r}" for place in golden if place not in own]
    new = [f"{place}: got {own[place]!r}, expected nothing" for place in own if place not in golden]
    shared = [place for place in golden if place in own]
    changed = [
        f"{place}: got {own[place]!r}, expected {golden[place]!r}"
        for place in shared
        if not _equal(golden[place], own[place], tolerance.of(place))
    ]
    return missing + new + changed


def _equal(expected: Any, found: Any, tolerance: Tolerance) -> bool:
    if isinstance(expected, float) and isinstance(found, float):
        return bool(found == pytest.approx(expected, rel=tolerance.relative, abs=tolerance.absolute))
    return type(expected) is type(found) and bool(expected == found)


def _leaves(content: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(content, dict | list):
        yield place, content
        return
    items = content.items() if isinstance(content, dict) else enumerate(content)
    for key, value in items:
        yield from _leaves(value, f"{place}/{key}")


def _rounded(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _rounded(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_rounded(value) for value in content]
    return float(f"{content:.{_DIGITS}g}") if isinstance(content, float) else content
