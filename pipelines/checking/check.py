"""Checks a line: its data, the sense of its object's name, its weights, and what a run will take."""

from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec

from components.errors import InputError
from components.storage.addresses import is_s3
from pipelines.checking.cost import check_cost
from pipelines.checking.data import check_data
from pipelines.checking.findings import Check, Findings
from pipelines.checking.weights import check_weights
from pipelines.checking.words import check_words
from pipelines.lines.line import Line

CHECKS: Sequence[Check] = (check_data, check_words, check_weights, check_cost)
"""All checks in their order; later ones may use the facts of earlier ones. A further check is a function more."""

_LIBRARIES = ("PIL", "numpy", "nltk")


def check_line(line: Line, checks: Sequence[Check] = CHECKS) -> Findings:
    """All findings about a line. Nothing is trained or changed.

    Raises `OSError` where an object store cannot be reached.
    """
    findings = Findings()
    for check in checks:
        check(line, findings)
    return findings


def check_before_run(line: Line, *, here: bool) -> Findings:
    """Findings about a line whose run begins: in this environment (`here`), or in images that have their own weights.

    A command line without the stages' libraries checks nothing: its stages do. Of data in an object store, the names
    are listed, and no image is fetched.

    Raises:
        InputError: the run would fail.
    """
    if not all(map(find_spec, _LIBRARIES)):
        return Findings()
    data = partial(check_data, fetched=0) if is_s3(line.dataset.uri) else check_data
    findings = check_line(line, (data, check_words, check_weights) if here else (data,))
    if findings.failed:
        raise InputError(*(finding.message for finding in findings.of("error")))
    return findings
