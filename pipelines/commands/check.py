"""`vigil check`: what is wrong or unusual about a line and its data, before anything is trained."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from pipelines.terminal import console

if TYPE_CHECKING:
    from pipelines.checking.findings import Findings
    from pipelines.lines.line import Line

_COLOURS = {"error": "bold red", "warning": "yellow", "note": "cyan"}
_GLOSS = 60


def check(
    line: Annotated[Path, typer.Argument(metavar="LINE.yaml", help="The production line.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Check a line in seconds: its data, the sense of its object's name, its weights, the time and memory to expect.

    Exits with 2 where a run would fail. Of many or large images a sample is looked at: 256 of them, or 200 megapixels;
    of an object store, 32.
    """
    from pipelines.checking.check import check_line
    from pipelines.lines.line import load_line

    loaded = load_line(line)
    findings = check_line(loaded)
    if as_json:
        typer.echo(json.dumps({"line": loaded.name, **findings.to_content()}, indent=2))
    else:
        _print(loaded, findings)
    raise typer.Exit(2 if findings.failed else 0)


def print_warnings(findings: "Findings") -> None:
    """Print the warnings in front of a run, one line each."""
    for finding in findings.of("warning"):
        console.print(f"[yellow]warning:[/] {escape(finding.message)}", soft_wrap=True)


def _print(line: "Line", findings: "Findings") -> None:
    from rich.table import Table

    from pipelines.checking.findings import LEVELS, counted

    console.print(escape(f"{line.name}: {line.dataset.uri}"), soft_wrap=True)
    if images := findings.facts.get("images"):
        table = Table("images", "good", "bad", "masks")
        for split, numbers in images.items():
            table.add_row(split, *(str(numbers[name]) for name in ("good", "bad", "masks")))
        console.print(table)
    facts = Table.grid(padding=(0, 2))
    for name, text in _facts(findings.facts):
        facts.add_row(f"[bold]{name}[/]", escape(text))
    console.print(facts)
    rows = Table.grid(padding=(0, 2))
    for level in LEVELS:
        for finding in findings.of(level):
            rows.add_row(f"[{_COLOURS[level]}]{level}[/]", f"[dim]{finding.name}[/]", escape(finding.message))
    console.print(rows)
    counts = ", ".join(counted(len(findings.of(level)), level) for level in LEVELS)
    console.print(f"{'[bold red]a run would fail[/]' if findings.failed else '[green]ready for a run[/]'}: {counts}")


def _facts(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """What was found, as lines of a name and a text."""
    found = []
    if given := facts.get("given"):
        found.append(("given", f"{given['shots']} for training, {given['calibration']} for the threshold alone"))
    if pixels := facts.get("pixels"):
        sizes = ", ".join(f"{size} ({number})" for size, number in [*pixels["sizes"].items()][:3])
        modes = ", ".join(f"{mode} ({number})" for mode, number in [*pixels["modes"].items()][:3])
        found += [("sizes", sizes), ("stored", modes), ("looked at", f"{pixels['looked_at']} of {pixels['of']} images")]
    for sense in facts.get("senses", ())[:3]:
        gloss = sense["gloss"]
        shown = gloss if len(gloss) <= _GLOSS else f"{gloss[: _GLOSS - 3]}..."
        found.append(("sense", f"{sense['synset']}: {shown}"))
    if weights := facts.get("weights"):
        states = {row["name"]: row["state"] for row in weights}
        here = [name for name, state in states.items() if state == "here"]
        found.append(("weights", f"{len(here)} of {len(states)} are here: {', '.join(here)}"))
    if expected := facts.get("expected"):
        memory = f", {expected['memory_gb']} GB in the largest process" if expected["memory_gb"] else ""
        minutes = max(1, round(expected["seconds"] / 60))
        found.append(("expected", f"about {minutes} min{memory} (two cores without a GPU)"))
    return found
