"""Figures of an experiment's cells as one long table: a row for each figure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import (
    EVALUATION,
    PROMPTS,
    QUALITY,
    RECORDS,
    REFERENCE_PROMPTS,
    TREND,
    ImageSet,
    new_directory,
    read_json,
    read_table,
    write_table,
)
from components.metrics.records import EXTRA_HEADS, GENERATED, METRICS, read_records
from components.pages.pictures import contact_sheet

if TYPE_CHECKING:
    import pandas as pd

RESULTS = "results.parquet"
COLUMNS = ("class_name", "shots", "seed", "detector", "method", "measure", "item", "value", "note", "picture")
"""Columns of the table: the cell's names, the measure, what it is of where there are several (a defect type, an
iteration, a prompt), its value or the reason why there is none, and a data URI for a picture."""

PROMPT_MEASURES = ("l2", "cosine", "text_cosine")
"""Measures of a prompt: L2 distance and cosine to the given images, and cosine to the object's name."""
COMPARED_PROMPTS = {"word": "only word", "naive": "naive prompt"}
"""Notes, by their kind, of the prompts that are no candidates; a candidate's note is its relation."""

IMAGES = "images"
"""Measure of an image set: the number of its images."""

_SHOWN = 8

Row = dict[str, Any]


def gather(labels: Sequence[Mapping[str, Any]], paths: Sequence[str | Path], results: str | Path) -> int:
    """Write the table of some cells.

    Args:
        labels: names of each cell, and the kind of its artifact, a key of `READERS`.
        paths: artifact of each cell.
        results: artifact to write.

    Returns:
        Number of rows.
    """
    rows = [row for label, path in zip(labels, paths, strict=True) for row in _labelled(label, Path(path))]
    with new_directory(results) as directory:
        write_table(directory / RESULTS, _table(rows))
    return len(rows)


def merge(parts: Sequence[str | Path], results: str | Path) -> int:
    """Write the rows of several tables as one, and count them."""
    import pandas as pd

    table = pd.concat([read_results(part) for part in parts], ignore_index=True)
    with new_directory(results) as directory:
        write_table(directory / RESULTS, table)
    return len(table)


def read_results(path: str | Path) -> "pd.DataFrame":
    """The table of an artifact."""
    return read_table(Path(path) / RESULTS)


def _table(rows: Sequence[Row]) -> "pd.DataFrame":
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(COLUMNS))
    texts = ["class_name", "detector", "method", "measure", "item", "note", "picture"]
    return table.astype({"shots": "int64", "seed": "int64", "value": "float64", **dict.fromkeys(texts, "string")})


def _labelled(label: Mapping[str, Any], path: Path) -> Iterable[Row]:
    names = {name: label[name] for name in ("class_name", "shots", "seed", "method")}
    empty = {"detector": "", "item": "", "value": None, "note": "", "picture": ""}
    return [{**empty, **names, **row} for row in READERS[label["kind"]](path)]


def _predictions(path: Path) -> Iterable[Row]:
    """Metrics of each detector; a training set without generated images is a method of its own."""
    defects = read_json(path / EVALUATION)["defect_auroc"]
    for record in read_records(path / RECORDS):
        names = {"detector": record.detector}
        if record.training_set != GENERATED:
            names["method"] = record.training_set
        for name in METRICS:
            value = record.metric(name)
            note = "" if value is not None else "no test image has a mask"
            yield {**names, "measure": name, "value": value, "note": note}
        for name in (*EXTRA_HEADS, "latency_ms"):
            if (value := record.metric(name)) is not None:
                yield {**names, "measure": name, "value": value}
        for defect, auroc in defects[record.trial].items():
            yield {**names, "measure": "image_auroc", "item": defect, "value": auroc}


def _quality(path: Path) -> Iterable[Row]:
    for name, found in read_json(path / QUALITY).items():
        yield {"measure": name, "value": found["value"], "note": found["reason"] or ""}


def _trend(path: Path) -> Iterable[Row]:
    for row in read_table(path / TREND).itertuples():
        yield {"measure": "cosine", "item": str(row.iteration), "value": row.cosine}


def _prompts(path: Path) -> Iterable[Row]:
    for row in read_table(path / PROMPTS).itertuples():
        yield from _distances(row, f"{row.relation}{'' if row.kept else ', dropped'}")
    for row in read_table(path / REFERENCE_PROMPTS).itertuples():
        if row.kind in COMPARED_PROMPTS:
            yield from _distances(row, COMPARED_PROMPTS[str(row.kind)])


def _distances(row: Any, note: str) -> Iterable[Row]:
    for measure in PROMPT_MEASURES:
        yield {"measure": measure, "item": row.prompt, "value": getattr(row, measure), "note": note}


def _pictures(path: Path) -> Iterable[Row]:
    """A contact sheet of the set's first images, and how many there are."""
    images = ImageSet(path)
    ids = images.ids("train", "good")
    yield {"measure": "picture", "picture": contact_sheet([images.image(id) for id in ids[:_SHOWN]])}
    yield {"measure": IMAGES, "value": float(len(ids))}


READERS: Mapping[str, Callable[[Path], Iterable[Row]]] = {
    "predictions": _predictions,
    "quality": _quality,
    "trend": _trend,
    "prompts": _prompts,
    "pictures": _pictures,
}
"""How the artifact of a cell is read, by the cell's kind."""
