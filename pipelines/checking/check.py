"""Checks a line: its data, the sense of its object's name, its weights, and what a run will take."""

from collections.abc import Sequence

from pipelines.checking.cost import check_cost
from pipelines.checking.data import check_data
from pipelines.checking.findings import Check, Findings
from pipelines.checking.weights import check_weights
from pipelines.checking.words import check_words
from pipelines.lines.line import Line

CHECKS: Sequence[Check] = (check_data, check_words, check_weights, check_cost)
"""All checks in their order; later ones may use the facts of earlier ones. A further check is a function more."""


def check_line(line: Line, checks: Sequence[Check] = CHECKS) -> Findings:
    """All findings about a line. Nothing is trained, fetched for good, or changed.

    Raises `OSError` where an object store cannot be reached.
    """
    findings = Findings()
    for check in checks:
        check(line, findings)
    return findings
