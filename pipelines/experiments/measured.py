"""The measured tables of the documents: one command makes them again, a JSON keeps them, documents print them."""

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import read_json, write_json
from components.errors import check
from components.metrics.seeds import Spread
from components.stage.provenance import code_digest
from components.tabulation import statistics
from components.tabulation.page import interval_text, shots_text, spread_text
from components.tabulation.statistics import ALL_CLASSES
from pipelines.experiments.request import Request

if TYPE_CHECKING:
    import pandas as pd

README = "readme"
"""Name of the command's experiment that makes the tables."""
MEASURED = "pipelines/experiments/measured.json"
"""Where a repository keeps the figures, below its root."""
DOCUMENTS = ("README.md", "pipelines/experiments/README.md")
"""Documents that may print tables, below the root."""
_HELD_OUT = "dataset.calibration=5"
"""Good images by which `augmentation.policy: auto` is chosen; no detector is trained on them."""
TABLES: Mapping[str, Mapping[str, Any]] = {
    "control-128": {"name": "control", "settings": ("dataset.image_size=128",)},
    "control-256": {"name": "control", "settings": ("dataset.image_size=256",)},
    "gain-128": {"name": "gain", "settings": ("dataset.image_size=128", _HELD_OUT)},
    "gain-256": {"name": "gain", "settings": ("dataset.image_size=256", _HELD_OUT)},
    "fig5-256": {
        "name": "fig5",
        "settings": ("dataset.image_size=256",),
        "detectors": "patchcore,cflow,reverse_distillation,efficientad",
    },
}
"""Experiment and options of each table."""

_MEASURE = "image_auroc"
_DIGITS = 4
_BLOCK = "<!-- measured {name} -->\n{text}<!-- end of measured -->"
_BLOCKS = re.compile(r"<!-- measured (?P<name>[^\n]+) -->\n(?P<text>.*?)<!-- end of measured -->", re.DOTALL)
_OF = " of "
"""Between the name of a table and that of the detector whose rows a block prints."""

Content = dict[str, Any]
"""Figures of a table, as JSON can hold them."""


def request_of(table: str, given: Request) -> Request:
    """The request of a table, on the data, classes, shots and seeds of another one, whose settings come before."""
    check(table in TABLES, "--tables", table, f"some of {', '.join(TABLES)}")
    own = TABLES[table]
    return dataclasses.replace(given, **{**own, "settings": (*given.settings, *own["settings"])})


def remake(
    tables: Iterable[str], given: Request, workdir: Path, run: "Callable[[Request], pd.DataFrame]"
) -> dict[str, Content]:
    """Measure tables one by one, and return all that a working folder has had measured, of its `readme.json`.

    `run` runs what is left of an experiment, and returns its table; finished tables are kept when another one fails.
    """
    path = workdir / f"{README}.json"
    for table, request in {table: request_of(table, given) for table in tables}.items():
        found = summary(run(request), request)
        kept = read_json(path) if path.is_file() else {}
        write_json(path, {**kept, table: found})
    return dict(read_json(path))


def summary(results: "pd.DataFrame", request: Request) -> Content:
    """Means over seeds by class, and differences from no added images, of a table of results; with the settings."""
    compared = {(one.detector, one.shots, one.method): one for one in statistics.comparisons(results)}
    rows = []
    for line in statistics.lines(results, _MEASURE):
        cells = {name: _spread(found) for name, found in line.cells.items() if found}
        row = {"detector": line.detector, "shots": line.shots, "method": line.method, "cells": cells}
        if one := compared.get((line.detector, line.shots, line.method)):
            interval = one.by_seed.interval and [round(end, _DIGITS) for end in one.by_seed.interval]
            row |= {"difference": round(one.mean, _DIGITS), "by_seed": interval, "wins": one.wins, "pairs": one.pairs}
            row["recovery"] = None if one.recovery is None else round(one.recovery, _DIGITS)
        rows.append(row)
    return {"settings": {"experiment": request.name, **request.summary()}, "code": code_digest(), "rows": rows}


def _spread(found: Spread) -> list[Any]:
    return [found.n, round(found.mean, _DIGITS), None if found.sd is None else round(found.sd, _DIGITS)]


def block_text(name: str, measured: Mapping[str, Content]) -> str:
    """What a document's block prints: a table, or by `TABLE of DETECTOR` that detector's rows, without its name."""
    table, _, detector = name.partition(_OF)
    content = measured[table]
    if not detector:
        return markdown(content)
    rows = [row for row in content["rows"] if row["detector"] == detector]
    detectors = sorted({row["detector"] for row in content["rows"]})
    check(bool(rows), f"detector of {table}", detector, f"one of {'; '.join(detectors)}")
    return markdown({**content, "rows": rows}, skip=1)


def markdown(content: Content, skip: int = 0) -> str:
    """A table as a document prints it, without the first `skip` columns: image AUROC, and what it is against `none`."""
    rows: Sequence[Content] = content["rows"]
    names = sorted({name for row in rows for name in row["cells"]}, key=lambda name: (name == ALL_CLASSES, name))
    head = ["detector", "given", "method", *names, "against none", "by seed, 95 %", "higher in", "recovered"]
    lines = [head[skip:], ["---"] * len(head[skip:])]
    for row in rows:
        cells = [row["cells"].get(name) for name in names]
        spreads = [found and Spread(n=found[0], mean=found[1], sd=found[2]) for found in cells]
        shown = [row["detector"], shots_text(row["shots"]), row["method"], *map(spread_text, spreads)]
        lines.append([*shown[skip:], *_difference(row)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _difference(row: Content) -> list[str]:
    if "difference" not in row:
        return ["", "", "", ""]
    recovered = "-" if row["recovery"] is None else f"{row['recovery']:.0%}"
    wins = f"{row['wins']} of {row['pairs']}"
    return [f"{row['difference']:+.3f}", interval_text(row["by_seed"] and tuple(row["by_seed"])), wins, recovered]


def printed(document: str) -> dict[str, str]:
    """Tables of a document's text, by name."""
    return {found["name"]: found["text"] for found in _BLOCKS.finditer(document)}


def refresh(root: Path, measured: Mapping[str, Content]) -> None:
    """Enter figures in a repository's JSON, and print them in its documents wherever these have a block of that name.

    A block is `<!-- measured NAME -->`, a line each for the table, and `<!-- end of measured -->`; see `block_text`.
    """
    path = root / MEASURED
    check(path.parent.is_dir(), "--into", str(root), f"the root of a repository, with {Path(MEASURED).parent}/")
    kept = {**(read_json(path) if path.is_file() else {}), **measured}
    write_json(path, kept)

    def block(found: re.Match[str]) -> str:
        name = found["name"]
        return _BLOCK.format(name=name, text=block_text(name, kept)) if name.partition(_OF)[0] in kept else found[0]

    for name in DOCUMENTS:
        document = root / name
        text = document.read_text(encoding="utf-8")
        document.write_text(_BLOCKS.sub(block, text), encoding="utf-8")
