"""The summary of a run as Markdown, for Kubeflow's page."""

from pathlib import Path

from components.artifacts import DECISION_PAGE, RECORDS
from components.metrics.records import METRIC_HEADS, Record, gains_by_detector, read_records
from components.reporting.sources import Sources, best_trial


def write_summary(sources: Sources, path: str | Path, line: str) -> None:
    """Write the comparison as a table, the chosen detector in bold, the gains, and the decision on its promotion."""
    records, best = read_records(Path(sources.predictions) / RECORDS), best_trial(sources)
    rows = ["| trial | " + " | ".join(METRIC_HEADS.values()) + " |", "|---" * (len(METRIC_HEADS) + 1) + "|"]
    rows += [_row(record, best) for record in records]
    gains = [f"- {name}: generated images gain {gain:+.4f}" for name, gain in gains_by_detector(records).items()]
    decision = (Path(sources.best) / DECISION_PAGE).read_text(encoding="utf-8")
    text = "\n".join([f"# {line}", "", *rows, "", *gains, "", decision.rstrip(), ""])
    Path(path).write_text(text, encoding="utf-8")


def _row(record: Record, best: str) -> str:
    values = [record.metric(name) for name in METRIC_HEADS]
    cells = [f"**{record.trial}**" if record.trial == best else record.trial]
    return "| " + " | ".join([*cells, *("" if value is None else f"{value:.4f}" for value in values)]) + " |"
