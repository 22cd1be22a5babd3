"""`vigil schedule`: the recurring runs of a folder of lines on a cluster."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.commands.connecting import connect
from pipelines.commands.options import (
    TIME_ZONE,
    CaFile,
    ClusterDefaults,
    Host,
    Mounted,
    Namespace,
    Timeout,
    TokenFile,
)
from pipelines.terminal import console

if TYPE_CHECKING:
    from pipelines.cluster.kubeflow import Kubeflow
    from pipelines.cluster.schedules import Change, Existing, Outcome

app = typer.Typer(help=f"Recurring runs of lines on a cluster; crons are {TIME_ZONE}.", no_args_is_help=True)


@app.command()
def apply(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="All lines of the namespace, one YAML file each.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, and change nothing.")] = False,
    prune: Annotated[bool, typer.Option(help="Delete recurring runs of lines that are not in DIR.")] = True,
    host: Host = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    timeout: Timeout = 30.0,
    mounted: Mounted = False,
    cluster_defaults: ClusterDefaults = None,
) -> None:
    """Make the cluster's recurring runs equal to the lines in DIR.

    Only recurring runs that this command created are touched. A line's `schedule.cron` has six fields, the first for
    seconds; `schedule.enabled: false` keeps its recurring run disabled.
    """
    from pipelines.cluster.schedules import Outcome, carry_out, desired_schedules, difference, existing_schedules
    from pipelines.cluster.submission import check_for_cluster
    from pipelines.lines.line import load_lines

    lines = load_lines(
        folder, cluster_defaults, lambda line: check_for_cluster(line, mounted=mounted or not line.schedule.cron)
    )
    cluster = connect(host, namespace, token_file, ca_file, timeout)
    changes = difference(desired_schedules(lines), existing_schedules(cluster), prune=prune)
    outcome = Outcome(done=changes) if dry_run else carry_out(cluster, changes)
    _print_outcome(outcome)
    if dry_run:
        console.print("dry run: nothing was changed")
    _fail_unless_done(outcome)


@app.command("list")
def list_schedules(
    host: Host = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    timeout: Timeout = 30.0,
) -> None:
    """List the recurring runs that `apply` created, each with its last run; the API does not tell the next one."""
    from pipelines.cluster.schedules import existing_schedules

    cluster = connect(host, namespace, token_file, ca_file, timeout)
    schedules = sorted(existing_schedules(cluster), key=lambda schedule: (schedule.line, schedule.id))
    _print_columns(
        [("line", "cron", "enabled", "last run", "its state", "status", "version")]
        + [_row(cluster, schedule) for schedule in schedules]
    )
    count = "1 schedule" if len(schedules) == 1 else f"{len(schedules)} schedules"
    console.print(f"{count}, {TIME_ZONE}", soft_wrap=True)


def _row(cluster: "Kubeflow", schedule: "Existing") -> tuple[str, ...]:
    run = cluster.last_run(schedule.id)
    started = f"{run.created_at:%Y-%m-%d %H:%M:%SZ}" if run and run.created_at else "none"
    state = str(run.state or "").lower() if run else ""
    enabled = "yes" if schedule.enabled else "no"
    return schedule.line, schedule.cron, enabled, started, state, schedule.status.lower(), schedule.version


def _print_outcome(outcome: "Outcome") -> None:
    rows = [(change.line, change.kind, change.detail) for change in outcome.done]
    rows += [(line, "failed", str(error)) for line, error in outcome.failed.items()]
    rows += [(change.line, "not done", f"to be {change.kind}") for change in outcome.skipped]
    _print_columns([("line", "change", "what"), *sorted(rows)])
    console.print(f"{_summary(outcome.done)}; crons are {TIME_ZONE}", soft_wrap=True)


def _summary(changes: Sequence["Change"]) -> str:
    from pipelines.cluster.schedules import KINDS

    counts = Counter(change.kind for change in changes)
    return ", ".join(f"{counts[kind]} {kind}" for kind in KINDS if counts[kind]) or "no schedules"


def _fail_unless_done(outcome: "Outcome") -> None:
    from pipelines.cluster.transport import ClusterError

    missing = len(outcome.failed) + len(outcome.skipped)
    if missing:
        first = next(iter(outcome.failed.values()))
        lines = "line was" if missing == 1 else "lines were"
        raise ClusterError(f"{missing} {lines} not applied, run the same command again: {first}")


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows, the first a heading, in aligned columns of their full width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for index, row in enumerate(rows):
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        console.print(escape(text), style="bold" if index == 0 else None, soft_wrap=True)
