"""Completes a pipeline run in MLflow from its artifacts, whichever run has computed them."""

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from pathlib import Path

from components.artifacts import DECISION_PAGE, PROMPTS, RECORDS, SUMMARY, UNSENT, read_json, read_table
from components.metrics.records import flat_metrics, gain_metrics, read_records
from components.notices.webhook import notify
from components.pages import pictures
from components.registry.nomination import is_registered, nominate_later, registration_tags
from components.reporting import figures
from components.reporting.announce import finished_notice
from components.reporting.sources import Sources, contact_sheets, precision_recall_curves, roc_curves, worst_errors
from components.tracking.run import StageRun


def conclude_run(
    sources: Sources, detectors: Sequence[str | Path], html: str | Path, reported_in: str, run: StageRun
) -> None:
    """Give the pipeline run its stages, metrics, report and pictures, end it, and post the notice of it.

    `reported_in` is the id of the pipeline run that wrote the report, empty where it is unknown. `run` is the recording
    of the stage, direct where the detector is not registered yet.
    """
    for artifact in map(Path, (*astuple(sources), *detectors)):
        summary = read_json(artifact / SUMMARY)
        if summary["run_id"] == run.task.run_id:
            run.backfill(artifact / UNSENT)
        else:
            run.log_cached(summary["stage"], summary["run_id"], summary)
            run.backfill(artifact / UNSENT, cached=True)
    if reported_in not in ("", run.task.run_id):
        run.log_cached("reporting", reported_in, {})
    records = read_records(Path(sources.predictions) / RECORDS)
    run.log_metrics(flat_metrics(records) | gain_metrics(records), parent=True)
    run.log_file(Path(html).read_bytes(), "report.html")
    for name, content in _files(sources):
        run.log_file(content, name)
    run.log_parent_tags(registration_tags(sources.best))
    run.wait()
    decided = {} if is_registered(sources.best) else nominate_later(sources.reference, Path(sources.best), run)
    run.close_parent("FINISHED")
    notify(finished_notice(sources, run.task.line, run.task.run_id, decided))


def _files(sources: Sources) -> Iterator[tuple[str, bytes]]:
    """Names and contents of what a person looks at in the run's artifacts."""
    for name, uri in contact_sheets(sources).items():
        yield f"contact_sheets/{name}.jpg", pictures.uri_content(uri)
    prompts = read_table(Path(sources.prompts) / PROMPTS)
    yield "prompts.json", json.dumps(prompts.to_dict("split", index=False)).encode()
    for name, curves, horizontal, vertical in (
        ("roc", roc_curves(sources), "false positive rate", "true positive rate"),
        ("precision_recall", precision_recall_curves(sources), "recall", "precision"),
    ):
        if not curves:
            continue
        png = io.BytesIO()
        figures.curve_picture(curves, horizontal, vertical).savefig(png, format="png")
        yield f"curves/{name}.png", png.getvalue()
    if is_registered(sources.best):
        yield "decision.md", (Path(sources.best) / DECISION_PAGE).read_bytes()
    errors = worst_errors(sources)
    for kind in ("good", "bad"):
        for index, tile in enumerate(errors[kind]):
            yield f"worst_errors/{kind}-{index:02d}.jpg", pictures.side_by_side(tile["image"], tile["heat"])
