"""What becomes of a finished run's results: a summary in the terminal, and an upload to an object store."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from components.artifacts import file_sha256, write_json
from components.errors import check, without_credentials
from components.metrics.records import (
    EXTRA_HEADS,
    GENERATED,
    METRICS,
    PROXY_HEADS,
    Record,
    extra_metrics,
    gain,
    read_records,
)
from components.storage.s3 import publish_directory, split_uri
from pipelines.local.workdir import Workdir

INDEX = "artifacts.json"
_HEADS = ("image AUROC", "pixel AUROC", "AUPRO", "AP", "F1-max")
_RATES = {"false_alarm_rate": "false alarms", "recall": "recall"}


def print_summary(workdir: Workdir, tracking_uri: str, console: Console) -> None:
    """Print the table, the gain of the generated images, the report's path and the command that opens MLflow."""
    records = read_records(workdir.metrics)
    console.print(comparison_table(records))
    if all(record.image_auroc is None for record in records):
        console.print("no bad test images: AUROC and recall are not measured, proxies are of synthetic defects")
    for detector in dict.fromkeys(record.detector for record in records):
        difference = gain(records, detector, "image_auroc")
        if difference is not None:
            console.print(f"{detector}: {GENERATED} gains {difference:+.4f} image AUROC over the best other set")
    console.print(f"report: {workdir.report}", soft_wrap=True)
    if tracking_uri.startswith("sqlite:"):
        console.print(f"MLflow: mlflow ui --backend-store-uri {tracking_uri}", soft_wrap=True)
    elif tracking_uri:
        console.print(f"MLflow: {without_credentials(tracking_uri)}", soft_wrap=True)


def comparison_table(records: Sequence[Record]) -> Table:
    """Table of all records."""
    extra = extra_metrics(records)
    heads = (*_HEADS, *(EXTRA_HEADS[name] for name in extra), *_RATES.values())
    proxies = [name for name in PROXY_HEADS if any(record.metric(name) is not None for record in records)]
    heads = (*heads, *(PROXY_HEADS[name] for name in proxies))
    table = Table("detector", "training set", *heads, "ms/image", title=f"seed {records[0].seed}")
    for record in records:
        figures = [record.metric(name) for name in (*METRICS, *extra)]
        values = ["-" if value is None else f"{value:.4f}" for value in figures]
        shares = [record.metric(name) for name in (*_RATES, *proxies)]
        rates = ["-" if share is None else f"{share:.1%}" for share in shares]
        table.add_row(record.detector, record.training_set, *values, *rates, f"{record.latency_ms:.0f}")
    return table


def check_destination(uri: str) -> None:
    """Raise `InputError` unless the URI is a prefix in a bucket; to call before a run that may take hours."""
    _, prefix = split_uri(uri)
    check(bool(prefix), "publish", uri, "s3://BUCKET/PREFIX")


def publish_results(workdir: Workdir, uri: str) -> None:
    """Upload report, records and an index of the artifacts of the folder's last finished run; replaces earlier ones."""
    with tempfile.TemporaryDirectory() as directory:
        results = Path(directory)
        for path in (workdir.report, workdir.metrics):
            shutil.copyfile(path, results / path.name)
        write_json(results / INDEX, artifact_index(workdir))
        publish_directory(results, uri)


def artifact_index(workdir: Workdir) -> list[dict[str, str | int]]:
    """Path below the folder of the runs, size in bytes and sha256 of every file of the artifacts."""
    hidden = workdir.artifacts / ".kfp_cache"
    files = (path for path in workdir.artifacts.rglob("*") if path.is_file() and not path.is_relative_to(hidden))
    return [
        {"path": str(path.relative_to(workdir.root)), "bytes": path.stat().st_size, "sha256": file_sha256(path)}
        for path in sorted(files)
    ]
