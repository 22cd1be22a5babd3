"""`vigil submit`: one run of a line, or of every line of a folder, on a cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from components.errors import check
from pipelines.commands.connecting import connect
from pipelines.commands.options import CaFile, ClusterDefaults, Host, Mounted, Namespace, Timeout, TokenFile
from pipelines.terminal import console, errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipelines.cluster.kubeflow import Kubeflow
    from pipelines.lines.line import Line

_INTERRUPTED = 130


def submit(
    line: Annotated[Path, typer.Argument(metavar="LINE.yaml|DIR", help="The production line, or a folder of lines.")],
    wait: Annotated[bool, typer.Option("--wait", help="Follow each run; exit with 1 unless all succeed.")] = False,
    experiment: Annotated[str, typer.Option(show_default="the line's name", help="Experiment of the run.")] = "",
    create_experiment: Annotated[
        bool, typer.Option("--create-experiment", help="Create the named experiment when it is missing.")
    ] = False,
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
    from pipelines.cluster.submission import check_for_cluster
    from pipelines.lines.line import load_line_or_lines

    lines = load_line_or_lines(line, cluster_defaults, lambda found: check_for_cluster(found, mounted=mounted))
    cluster = connect(host, namespace, token_file, ca_file, timeout)
    runs = _start(cluster, lines, _experiment(cluster, experiment, create=create_experiment))
    if wait:
        _follow(cluster, runs)


def _experiment(cluster: "Kubeflow", name: str, *, create: bool) -> str:
    """Id of the experiment of that name; empty without a name, for each line's own.

    Raises:
        InputError: there is none, and it is not to be created.
    """
    if not name:
        return ""
    found = cluster.experiment(name) if create else cluster.find_experiment(name)
    check(bool(found), "experiment", name, "one that exists, or --create-experiment")
    return str(found)


def _start(cluster: "Kubeflow", lines: "Sequence[Line]", experiment_id: str) -> dict[str, str]:
    """Start a run of each line; the runs' ids by line.

    Raises:
        ClusterError: a line was refused; names the lines that have no run.
    """
    from pipelines.cluster.submission import start_run
    from pipelines.cluster.transport import ClusterError

    runs: dict[str, str] = {}
    for index, line in enumerate(lines):
        try:
            runs[line.name] = start_run(cluster, line, experiment_id)
        except ClusterError as error:
            left = ", ".join(other.name for other in lines[index:])
            raise ClusterError(f"{error}; not submitted: {left}" if len(lines) > 1 else str(error)) from error
        console.print(escape(cluster.run_url(runs[line.name])), soft_wrap=True)
    return runs


def _follow(cluster: "Kubeflow", runs: Mapping[str, str]) -> None:
    """Follow the runs of lines to their ends, those behind a failed one too.

    Raises:
        ClusterError: a run did not succeed, or the cluster does not answer any more; names every line.
    """
    from pipelines.cluster.transport import ClusterError, UnreachableError

    left, failures = list(runs), list[str]()
    while left:
        start = f"{left[0]}: " if len(runs) > 1 else ""
        try:
            failure = _failure(cluster, runs[left[0]], start)
        except KeyboardInterrupt:
            _tell_interruption([cluster.run_url(runs[line]) for line in left])
            raise typer.Exit(_INTERRUPTED) from None
        except UnreachableError as error:
            unknown = f"; not followed to the end: {', '.join(left)}" if len(runs) > 1 else ""
            raise ClusterError("; ".join([*failures, f"{error}{unknown}"])) from error
        failures += [f"{start}{failure}"] if failure else []
        left.pop(0)
    if failures:
        count = f"{len(failures)} of {len(runs)} runs did not succeed: " if len(runs) > 1 else ""
        raise ClusterError(count + "; ".join(failures))


def _failure(cluster: "Kubeflow", run_id: str, start: str) -> str:
    """Follow a run, each message behind `start`, and return what failed in it; empty when it succeeded."""
    from pipelines.cluster.following import SUCCEEDED, failure_of, follow_run
    from pipelines.cluster.transport import RefusedError

    try:
        run = follow_run(cluster, run_id, lambda text: console.print(escape(f"{start}{text}"), soft_wrap=True))
    except RefusedError as error:
        return str(error)
    if run.state == SUCCEEDED:
        return ""
    return f"run {str(run.state).lower()}: {failure_of(run)}; see {cluster.run_url(run_id)}"


def _tell_interruption(urls: "Sequence[str]") -> None:
    goes_on = "run goes" if len(urls) == 1 else "runs go"
    errors.print(f"interrupted; the {goes_on} on: {escape(' '.join(urls))}", soft_wrap=True)
