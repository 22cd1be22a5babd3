"""`vigil schedule`: the recurring runs of a folder of lines on a cluster."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from pipelines.cluster.transport import ClusterError
from pipelines.commands import options
from pipelines.terminal import console

app = typer.Typer(help=f"Recurring runs of lines on a cluster; crons are {options.TIME_ZONE}.", no_args_is_help=True)


@app.command()
def apply(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="All lines of the namespace, one YAML file each.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the difference, and change nothing.")] = False,
    prune: Annotated[bool, typer.Option(help="Delete recurring runs of lines that are not in DIR.")] = True,
    host: options.Host = "",
    namespace: options.Namespace = "",
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 30.0,
    mounted: options.Mounted = False,
    cluster_defaults: options.ClusterDefaults = None,
) -> None:
    """Make the cluster's recurring runs equal to the lines in DIR.

    Only recurring runs that this command created are touched. A line's `schedule.cron` has six fields, the first for
    seconds; `schedule.enabled: false` keeps its recurring run disabled.
    """
    from pipelines.cluster import schedules
    from pipelines.cluster.submission import check_for_cluster
    from pipelines.lines.line import load_lines

    lines = load_lines(
        folder, cluster_defaults, lambda line: check_for_cluster(line, mounted=mounted or not line.schedule.cron)
    )
    cluster = options.connect(host, namespace, token_file, ca_file, timeout)
    desired = schedules.desired_schedules([cluster.accepted(line) for line in lines])
    changes = schedules.difference(desired, schedules.existing_schedules(cluster), prune=prune)
    outcome = schedules.Outcome(done=changes) if dry_run else schedules.carry_out(cluster, changes)
    rows = [(change.line, change.kind, change.detail) for change in outcome.done]
    rows += [(line, "failed", str(error)) for line, error in outcome.failed.items()]
    rows += [(change.line, "not done", f"to be {change.kind}") for change in outcome.skipped]
    print_columns([("line", "change", "what"), *sorted(rows)])
    counts = Counter(change.kind for change in outcome.done)
    summary = ", ".join(f"{counts[kind]} {kind}" for kind in schedules.KINDS if counts[kind]) or "no schedules"
    console.print(f"{summary}; crons are {options.TIME_ZONE}", soft_wrap=True)
    if dry_run:
        console.print("dry run: nothing was changed")
    if missing := len(outcome.failed) + len(outcome.skipped):
        first = next(iter(outcome.failed.values()))
        were = "line was" if missing == 1 else "lines were"
        raise ClusterError(f"{missing} {were} not applied, run the same command again: {first}")


@app.command("list")
def list_schedules(
    host: options.Host = "",
    namespace: options.Namespace = "",
    token_file: options.TokenFile = None,
    ca_file: options.CaFile = None,
    timeout: options.Timeout = 30.0,
) -> None:
    """List the recurring runs that `apply` created, each with its last run; the API does not give the next one."""
    from pipelines.cluster.schedules import existing_schedules

    cluster = options.connect(host, namespace, token_file, ca_file, timeout)
    rows = [("line", "cron", "enabled", "last run", "its state", "status", "version")]
    for schedule in sorted(existing_schedules(cluster), key=lambda schedule: (schedule.line, schedule.id)):
        run = cluster.last_run(schedule.id)
        started = f"{run.created_at:%Y-%m-%d %H:%M:%SZ}" if run and run.created_at else "none"
        state = str(run.state or "").lower() if run else ""
        enabled, status = "yes" if schedule.enabled else "no", schedule.status.lower()
        rows.append((schedule.line, schedule.cron, enabled, started, state, status, schedule.version))
    print_columns(rows)
    count = "1 schedule" if len(rows) == 2 else f"{len(rows) - 1} schedules"
    console.print(f"{count}, {options.TIME_ZONE}", soft_wrap=True)


def print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    """Print rows, the first a heading, in aligned columns of their full width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for index, row in enumerate(rows):
        text = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        console.print(escape(text), style="bold" if index == 0 else None, soft_wrap=True)
