"""`vigil submit`: one run of a line, or of every line of a folder, on a cluster."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.commands.options import CaFile, ClusterDefaults, Host, Mounted, Namespace, Timeout, TokenFile
from pipelines.terminal import console, errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.cluster import Kubeflow
    from pipelines.line import Line

_INTERRUPTED = 130


def submit(
    line: Annotated[Path, typer.Argument(metavar="LINE.yaml|DIR", help="The production line, or a folder of lines.")],
    wait: Annotated[bool, typer.Option("--wait", help="Follow each run; exit with 1 unless all succeed.")] = False,
    experiment: Annotated[str, typer.Option(show_default="the line's name", help="Experiment of the run.")] = "",
    host: Host = "",
    namespace: Namespace = "",
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    timeout: Timeout = 30.0,
    mounted: Mounted = False,
    cluster_defaults: ClusterDefaults = None,
) -> None:
    """Run a line, or all lines of a folder, on a Kubeflow Pipelines cluster, and print each run's page.

    All files are checked before the first run is started. A line's package is uploaded as a version of the pipeline
    `vigil-training` unless it is there. Interrupting `--wait` does not end a run.
    """
    from pipelines.cluster import Kubeflow
    from pipelines.line import load_line_or_lines
    from pipelines.submission import check_for_cluster
    from pipelines.transport import Connection

    lines = load_line_or_lines(line, cluster_defaults, lambda found: check_for_cluster(found, mounted=mounted))
    cluster = Kubeflow(
        Connection(host=host, namespace=namespace, token_file=token_file, ca_file=ca_file, timeout=timeout)
    )
    runs = _start(cluster, lines, experiment)
    for run_id in runs if wait else ():
        _follow(cluster, run_id)


def _start(cluster: "Kubeflow", lines: "Sequence[Line]", experiment: str) -> list[str]:
    """Start a run of each line.

    Raises:
        ClusterError: a line was refused; names the lines that have no run.
    """
    from pipelines.submission import start_run
    from pipelines.transport import ClusterError

    runs: list[str] = []
    for index, line in enumerate(lines):
        try:
            runs.append(start_run(cluster, line, experiment or line.name))
        except ClusterError as error:
            left = ", ".join(other.name for other in lines[index:])
            raise ClusterError(f"{error}; not submitted: {left}" if len(lines) > 1 else str(error)) from error
        console.print(escape(cluster.run_url(runs[-1])), soft_wrap=True)
    return runs


def _follow(cluster: "Kubeflow", run_id: str) -> None:
    from pipelines.following import SUCCEEDED, failure_of, follow_run
    from pipelines.transport import ClusterError

    try:
        run = follow_run(cluster, run_id, lambda text: console.print(escape(text), soft_wrap=True))
    except KeyboardInterrupt:
        errors.print(f"interrupted; the run goes on: {escape(cluster.run_url(run_id))}", soft_wrap=True)
        raise typer.Exit(_INTERRUPTED) from None
    if run.state != SUCCEEDED:
        raise ClusterError(f"run {str(run.state).lower()}: {failure_of(run)}; see {cluster.run_url(run_id)}")
