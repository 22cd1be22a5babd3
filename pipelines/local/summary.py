"""Summary of a finished run: the comparison table, the report and how to open MLflow."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from components.errors import without_credentials
from components.metrics.records import EXTRA_HEADS, GENERATED, METRICS, Record, extra_metrics, gain
from pipelines.local.run import RunResult

_HEADS = ("image AUROC", "pixel AUROC", "AUPRO", "AP", "F1-max")
_RATES = ("false_alarm_rate", "recall")
_RATE_HEADS = ("false alarms", "recall")


def print_summary(result: RunResult, console: Console) -> None:
    """Print the table, the gain of the generated images, the report's path and the command that opens MLflow."""
    console.print(comparison_table(result.records))
    for detector in dict.fromkeys(record.detector for record in result.records):
        difference = gain(result.records, detector, "image_auroc")
        if difference is not None:
            console.print(f"{detector}: {GENERATED} gains {difference:+.4f} image AUROC over the best other set")
    console.print(f"report: {result.workdir.report}", soft_wrap=True)
    if result.tracking_uri.startswith("sqlite:"):
        console.print(f"MLflow: mlflow ui --backend-store-uri {result.tracking_uri}", soft_wrap=True)
    elif result.tracking_uri:
        console.print(f"MLflow: {without_credentials(result.tracking_uri)}", soft_wrap=True)


def comparison_table(records: Sequence[Record]) -> Table:
    """Table of all records."""
    extra = extra_metrics(records)
    heads = (*_HEADS, *(EXTRA_HEADS[name] for name in extra), *_RATE_HEADS)
    table = Table("detector", "training set", *heads, "ms/image", title=f"seed {records[0].seed}")
    for record in records:
        figures = [record.metric(name) for name in (*METRICS, *extra)]
        values = ["-" if value is None else f"{value:.4f}" for value in figures]
        rates = [f"{record.metric(name):.1%}" for name in _RATES]
        table.add_row(record.detector, record.training_set, *values, *rates, f"{record.latency_ms:.0f}")
    return table
