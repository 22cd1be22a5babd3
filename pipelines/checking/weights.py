"""Checks whether the weights that a line's run loads are at hand."""

from components.errors import InputError
from components.weights.fetch import cached_path, local_path, resolve
from components.weights.manifest import WeightsEntry
from pipelines.checking.findings import Findings
from pipelines.lines.line import Line

_PACKAGE = "package://"


def check_weights(line: Line, findings: Findings) -> None:
    """Look for every file of weights on this machine; nothing is fetched, and no digest is computed."""
    rows = []
    for key, reference in line.named_weights():
        try:
            entry = resolve(reference)
        except InputError as error:
            findings.add("error", "weights", f"{key}: {error}")
            continue
        state = _state(entry)
        rows.append({"name": entry.name, "key": key, "state": state})
        if state == "missing":
            findings.add("error", "weights", f"{key}: {entry.name}: no file at {entry.uri}")
        elif state == "not installed":
            package = entry.uri.removeprefix(_PACKAGE).partition("/")[0]
            message = f"{entry.name}: the Python package {package} is not installed here; the images have it"
            findings.add("error", "weights", message)
        elif state == "to fetch":
            findings.add("warning", "weights", f"{entry.name}: not on this machine, a run fetches it from {entry.uri}")
    findings.facts["weights"] = rows


def _state(entry: WeightsEntry) -> str:
    path = local_path(entry)
    if path is not None:
        return "here" if path.is_file() else "missing"
    if entry.uri.startswith(_PACKAGE):
        return "not installed"
    return "here" if cached_path(entry).is_file() else "to fetch"
