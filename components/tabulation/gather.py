"""Figures of an experiment's cells as one long table: a row for each figure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import artifacts
from components.artifacts import ImageSet, new_directory, read_json, read_table, write_table
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

_EMPTY = {"detector": "", "item": "", "value": None, "note": "", "picture": ""}
_SHOWN = 8

Row = dict[str, Any]


def gather(labels: Sequence[Mapping[str, Any]], paths: Sequence[str | Path], results: str | Path) -> int:
    """Write the table of some cells, and count its rows.

    `labels` has the names of each cell, and the kind of the artifact in `paths`, a key of `READERS`.
    """
    import pandas as pd

    rows = []
    for label, path in zip(labels, paths, strict=True):
        names = {name: label[name] for name in ("class_name", "shots", "seed", "method")}
        rows += [{**_EMPTY, **names, **row} for row in READERS[label["kind"]](Path(path))]
    texts = ["class_name", "detector", "method", "measure", "item", "note", "picture"]
    types = {"shots": "int64", "seed": "int64", "value": "float64", **dict.fromkeys(texts, "string")}
    with new_directory(results) as directory:
        write_table(directory / RESULTS, pd.DataFrame(rows, columns=list(COLUMNS)).astype(types))
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


def prediction_rows(path: Path) -> Iterable[Row]:
    """Metrics of each detector; a training set without generated images is a method of its own."""
    defects = read_json(path / artifacts.EVALUATION)["defect_auroc"]
    for record in read_records(path / artifacts.RECORDS):
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


def quality_rows(path: Path) -> Iterable[Row]:
    """Scores of an image set, or the reasons why there are none."""
    for name, found in read_json(path / artifacts.QUALITY).items():
        yield {"measure": name, "value": found["value"], "note": found["reason"] or ""}


def trend_rows(path: Path) -> Iterable[Row]:
    """Cosine of each iteration's set to the prompt."""
    for row in read_table(path / artifacts.TREND).itertuples():
        yield {"measure": "cosine", "item": str(row.iteration), "value": row.cosine}


def prompt_rows(path: Path) -> Iterable[Row]:
    """Measures of each candidate prompt, with its relation, and of the prompts that are no candidates."""
    candidates, compared = (read_table(path / name) for name in (artifacts.PROMPTS, artifacts.REFERENCE_PROMPTS))
    noted = [(row, f"{row.relation}{'' if row.kept else ', dropped'}") for row in candidates.itertuples()]
    noted += [(row, COMPARED_PROMPTS[str(row.kind)]) for row in compared.itertuples() if row.kind in COMPARED_PROMPTS]
    for row, note in noted:
        for measure in PROMPT_MEASURES:
            yield {"measure": measure, "item": row.prompt, "value": getattr(row, measure), "note": note}


def picture_rows(path: Path) -> Iterable[Row]:
    """A contact sheet of the set's first images, and how many there are."""
    images = ImageSet(path)
    ids = images.ids("train", "good")
    yield {"measure": "picture", "picture": contact_sheet([images.image(id) for id in ids[:_SHOWN]])}
    yield {"measure": IMAGES, "value": float(len(ids))}


READERS: Mapping[str, Callable[[Path], Iterable[Row]]] = {
    "predictions": prediction_rows,
    "quality": quality_rows,
    "trend": trend_rows,
    "prompts": prompt_rows,
    "pictures": picture_rows,
}
"""How the artifact of a cell is read, by the cell's kind."""
