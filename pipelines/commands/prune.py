"""`vigil prune`: deletes what runs on a cluster have left and nothing needs any more."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.markup import escape

from components.errors import check
from components.storage.addresses import is_s3
from components.storage.s3 import split_uri
from pipelines.cluster.transport import ClusterError
from pipelines.commands import options
from pipelines.commands.registry import Address, mlflow_at
from pipelines.commands.schedule import print_columns
from pipelines.terminal import console


def prune(
    older_than: Annotated[int, typer.Option(min=1, help="Days; what is younger stays.")] = 90,
    pipeline_root: Annotated[
        str,
        typer.Option(
            metavar="s3://BUCKET/PREFIX",
            show_default="objects are left alone",
            help="Where Kubeflow keeps artifacts, such as s3://mlpipeline/v2/artifacts.",
        ),
    ] = "",
    checkpoints: Annotated[
        str,
        typer.Option(
            metavar="s3://BUCKET/PREFIX", show_default="they are left alone", help="The tasks' VIGIL_CHECKPOINTS."
        ),
    ] = "",
    apply: Annotated[bool, typer.Option("--apply", help="Delete; without it, show what would be deleted.")] = False,
    tracking_uri: Address = "",
    host: options.Host = "",
    namespace: options.Namespace = "",
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 30.0,
) -> None:
    """Delete old runs, their artifacts and MLflow runs, pipeline versions and checkpoints that nothing needs.

    Runs in progress, those of champions, challengers and former champions, the latest success of each line, and what
    they took from the cache are kept at any age. A run whose artifacts a rule of the bucket has deleted is removed from
    the cluster, so that the cache does not hand them on.
    """
    root = pipeline_root.replace("minio://", "s3://", 1)
    for name, uri in (("--pipeline-root", root), ("--checkpoints", checkpoints)):
        check(not uri or (is_s3(uri) and bool(split_uri(uri)[1])), name, uri, "s3://BUCKET/PREFIX")
    with mlflow_at(tracking_uri):
        from pipelines.cluster import pruning

        cluster = options.connect(host, namespace, token_file, ca_file, timeout)
        now = datetime.now(UTC)
        limits = pruning.Limits(before=now - timedelta(days=older_than), pipeline_root=root, checkpoints=checkpoints)
        found = pruning.findings(cluster, pruning.take_inventory(cluster, limits), limits)
        failed = pruning.carry_out(found) if apply else {}
        removed = [finding for finding in found if not finding.kept]
        rows = [
            (
                item.kind,
                item.name,
                item.line,
                f"{(now - item.since).days} d",
                _what(item.reason, failed.get(item)),
            )
            for item in removed
        ]
        if rows:
            print_columns([("what", "name", "line", "age", "why"), *rows])
        kept = Counter(f"{item.kind}: {item.kept}" for item in found if item.kept)
        for text, number in sorted(kept.items()):
            console.print(escape(f"kept: {number} {text}"), soft_wrap=True)
        verb = "deleted" if apply else "to delete"
        console.print(f"{len(removed) - len(failed)} {verb}, {kept.total()} kept")
        if not apply:
            console.print("dry run: nothing was deleted; --apply deletes")
        if failed:
            first = next(iter(failed.values()))
            raise ClusterError(f"{len(failed)} of {len(removed)} not deleted, run the same command again: {first}")


def _what(reason: str, error: Exception | None) -> str:
    return f"not deleted: {error}" if error else reason
