"""Completes a pipeline run in MLflow from its artifacts, whichever run has computed them."""

import base64
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import DECISION_PAGE, PROMPTS, RECORDS, SUMMARY, UNSENT, read_json, read_table
from components.metrics.records import flat_metrics, gain_metrics, read_records
from components.pages import pictures
from components.registry.nomination import is_registered, nominate_later, registration_tags
from components.reporting import figures
from components.reporting.errors import worst_errors
from components.reporting.sheets import contact_sheets
from components.reporting.sources import Sources, precision_recall_curves, roc_curves
from components.tracking.events import RUN_ID
from components.tracking.run import StageRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_REPORT_RUN = re.compile(r'<meta name="vigil.run_id" content="([^"]*)">')
_HEAD_BYTES = 4096
_REPORTING = "reporting"


def conclude_run(sources: Sources, detectors: Sequence[str | Path], html: str | Path, run: StageRun) -> None:
    """Give the pipeline run its stages, metrics, report and pictures, and end it.

    Args:
        sources: artifacts of the run.
        detectors: all trained detectors.
        html: report.
        run: recording of the stage, direct where the detector is not registered yet.
    """
    _record_stages([Path(path) for path in (*astuple(sources), *detectors)], run)
    records = read_records(Path(sources.predictions) / RECORDS)
    run.log_parent_metrics(flat_metrics(records) | gain_metrics(records))
    _record_report(Path(html), run)
    for name, content in _files(sources):
        run.log_file(content, name)
    run.log_parent_tags(registration_tags(sources.best))
    run.wait()
    if not is_registered(sources.best):
        nominate_later(sources.reference, Path(sources.best), run)
    run.close_parent("FINISHED")


def _record_stages(artifacts: Sequence[Path], run: StageRun) -> None:
    """Add the stages that came from the cache, and what the others could not send."""
    for artifact in artifacts:
        summary = read_json(artifact / SUMMARY)
        if summary["run_id"] == run.task.run_id:
            run.publish_left(artifact / UNSENT)
        else:
            run.log_cached(summary["stage"], summary["run_id"], summary)
            run.publish_left_of_cached(artifact / UNSENT)


def _record_report(html: Path, run: StageRun) -> None:
    with html.open(encoding="utf-8") as file:
        written_in = _REPORT_RUN.search(file.read(_HEAD_BYTES))
    if written_in and written_in[1] != os.environ.get(RUN_ID, ""):
        run.log_cached(_REPORTING, written_in[1], {})
    run.log_file(html.read_bytes(), "report.html")


def _files(sources: Sources) -> Iterator[tuple[str, bytes]]:
    """Names and contents of what a person looks at in the run's artifacts."""
    for name, uri in contact_sheets(sources).items():
        yield f"contact_sheets/{name}.jpg", _decoded(uri)
    prompts = read_table(Path(sources.prompts) / PROMPTS)
    yield "prompts.json", json.dumps(prompts.to_dict("split", index=False)).encode()
    roc = figures.curve_picture(roc_curves(sources), "false positive rate", "true positive rate")
    yield "curves/roc.png", _png(roc)
    recall = figures.curve_picture(precision_recall_curves(sources), "recall", "precision")
    yield "curves/precision_recall.png", _png(recall)
    if is_registered(sources.best):
        yield "decision.md", (Path(sources.best) / DECISION_PAGE).read_bytes()
    errors = worst_errors(sources)
    for kind in ("good", "bad"):
        for index, tile in enumerate(errors[kind]):
            yield f"worst_errors/{kind}-{index:02d}.jpg", pictures.side_by_side(tile["image"], tile["heat"])


def _decoded(uri: str) -> bytes:
    return base64.b64decode(uri.partition(",")[2])


def _png(figure: "Figure") -> bytes:
    import io

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
