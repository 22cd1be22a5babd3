"""Figures of an experiment's cells as one long table: a row for each figure."""

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import artifacts
from components.artifacts import ImageSet, new_directory, read_json, read_table, write_table
from components.metrics.choice import PROXY, choose
from components.metrics.records import EXTRA_HEADS, GENERATED, METRICS, PROXY_HEADS, Record, read_records
from components.metrics.validation import read_validations
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

CHOSEN, WORST, ANY = "chosen by the proxy", "the worst on the test split", "any, in the mean"
"""Ways to choose among training sets, beside taking one always."""
RATES = ("false_alarm_rate", "promised_false_alarm_rate")
"""Observed false alarms on the test split, and what the threshold's rule lets expect."""

FULL = "all good images"
"""Method of `none` with all good training images given, which few of them come near at best."""
BANK = "bank_patches"
"""Patches in a detector's memory bank."""
IMAGES = "images"
"""Measure of an image set: the number of its images."""

_EMPTY = {"detector": "", "item": "", "value": None, "note": "", "picture": ""}
_SHOWN = 8

Row = dict[str, Any]


def gather(labels: Sequence[Mapping[str, Any]], paths: Sequence[str | Path], results: str | Path) -> int:
    """Write the table of some cells, and count its rows; a cell's variant is part of its detectors' names.

    `labels` has the names of each cell, and the kind of the artifact in `paths`, a key of `READERS`.
    """
    import pandas as pd

    rows = []
    for label, path in zip(labels, paths, strict=True):
        names = {name: label[name] for name in ("class_name", "shots", "seed", "method")}
        own = [{**_EMPTY, **names, **row} for row in READERS[label["kind"]](Path(path))]
        for row in own if label.get("variant") else ():
            row["detector"] = f"{row['detector']}, {label['variant']}" if row["detector"] else ""
        rows += own
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
            why = "no test image has a mask" if name in ("pixel_auroc", "aupro") else "there are no bad test images"
            note = "" if value is not None else why
            yield {**names, "measure": name, "value": value, "note": note}
        for name in (*EXTRA_HEADS, *PROXY_HEADS, *RATES, BANK, "latency_ms"):
            if (value := record.metric(name)) is not None:
                yield {**names, "measure": name, "value": value}
        for defect, auroc in defects[record.trial].items():
            yield {**names, "measure": "image_auroc", "item": defect, "value": auroc}


def full_rows(path: Path) -> Iterable[Row]:
    """Metrics of detectors that were trained on all good images alone, as a method in a table of fewer given ones."""
    yield from ({**row, "method": FULL} for row in prediction_rows(path))


def choice_rows(path: Path) -> Iterable[Row]:
    """Of each detector, the training set that the proxy chooses, and what the test split says of that choice.

    Where there is no proxy its measures have no value, and the reason as a note.
    """
    records, validations = read_records(path / artifacts.RECORDS), read_validations(path)
    for detector in dict.fromkeys(record.detector for record in records):
        own = [record for record in records if record.detector == detector]
        names = {"detector": detector, "method": CHOSEN}
        tested = [value for record in own if (value := record.image_auroc) is not None]
        if len(tested) < len(own) or any(validations.get(record.trial) is None for record in own):
            note = "one given image validates nothing, and without bad test images no choice is judged"
            yield {**names, "measure": "regret", "note": note}
            continue
        found = choose(own, validations, choose_by=PROXY, metric="image_auroc")
        yield {**names, "measure": "chosen", "item": found.record.training_set, "value": found.record.image_auroc}
        yield {**names, "measure": "regret", "value": found.regret}
        yield {**names, "method": WORST, "measure": "regret", "value": max(tested) - min(tested)}
        yield {**names, "method": ANY, "measure": "regret", "value": max(tested) - statistics.fmean(tested)}
        for record in own:
            yield {**names, "method": record.training_set, "measure": "regret", "value": max(tested) - _tested(record)}
        yield {**names, "measure": "rank_correlation", "value": _rank_correlation(own)}


def _tested(record: Record) -> float:
    assert record.image_auroc is not None
    return record.image_auroc


def _rank_correlation(records: Sequence[Record]) -> float | None:
    """Spearman's correlation of proxy and test AUROC; None where either is the same for all."""
    from scipy.stats import spearmanr

    pairs = [(record.proxy_image_auroc, record.image_auroc) for record in records]
    if any(len(set(values)) < 2 for values in zip(*pairs, strict=True)):
        return None
    return float(spearmanr(*zip(*pairs, strict=True)).statistic)


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
    "full": full_rows,
    "choice": choice_rows,
    "quality": quality_rows,
    "trend": trend_rows,
    "prompts": prompt_rows,
    "pictures": picture_rows,
}
"""How the artifact of a cell is read, by the cell's kind."""
