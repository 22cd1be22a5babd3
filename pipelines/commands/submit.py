"""`vigil submit`: one run of a line, or of every line of a folder, on a cluster."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from components.errors import check
from pipelines.cluster.following import SUCCEEDED, failure_of, follow_run
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.transport import ClusterAnswerError, ClusterError, ClusterUnavailableError
from pipelines.commands.options import CaFile, ClusterDefaults, Host, Mounted, Namespace, Timeout, TokenFile, connect
from pipelines.terminal import console, errors


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
    from pipelines.cluster.submission import check_for_cluster, start_run
    from pipelines.lines.line import load_line_or_lines

    lines = load_line_or_lines(line, cluster_defaults, lambda found: check_for_cluster(found, mounted=mounted))
    cluster = connect(host, namespace, token_file, ca_file, timeout)
    lines = [cluster.accepted(found) for found in lines]
    experiment_id = None
    if experiment:
        experiment_id = cluster.experiment(experiment) if create_experiment else cluster.find_experiment(experiment)
        check(bool(experiment_id), "experiment", experiment, "one that exists, or --create-experiment")
    runs: dict[str, str] = {}
    for index, started in enumerate(lines):
        try:
            runs[started.name] = start_run(cluster, started, experiment_id)
        except ClusterError as error:
            left = ", ".join(other.name for other in lines[index:])
            raise ClusterError(f"{error}; not submitted: {left}" if len(lines) > 1 else str(error)) from error
        console.print(escape(cluster.run_url(runs[started.name])), soft_wrap=True)
    if wait:
        _follow(cluster, runs)


def _follow(cluster: Kubeflow, runs: Mapping[str, str]) -> None:
    """Follow the runs of lines to their ends, those behind a failed one too; the error names every line."""

    def show(start: str, text: str) -> None:
        console.print(escape(f"{start}{text}"), soft_wrap=True)

    failures = list[str]()
    for index, (line, run_id) in enumerate(runs.items()):
        left, start = list(runs)[index:], f"{line}: " if len(runs) > 1 else ""
        try:
            run = follow_run(cluster, run_id, partial(show, start))
        except KeyboardInterrupt:
            goes_on, urls = "run goes" if len(left) == 1 else "runs go", [cluster.run_url(runs[name]) for name in left]
            errors.print(f"interrupted; the {goes_on} on: {escape(' '.join(urls))}", soft_wrap=True)
            raise typer.Exit(130) from None
        except ClusterUnavailableError as error:
            unknown = f"; not followed to the end: {', '.join(left)}" if len(runs) > 1 else ""
            raise ClusterError("; ".join([*failures, f"{error}{unknown}"])) from error
        except ClusterAnswerError as error:
            failures.append(f"{start}{error}")
            continue
        if run.state != SUCCEEDED:
            url = cluster.run_url(run_id)
            failures.append(f"{start}run {str(run.state).lower()}: {failure_of(run)}; see {url}")
    if failures:
        count = f"{len(failures)} of {len(runs)} runs did not succeed: " if len(runs) > 1 else ""
        raise ClusterError(count + "; ".join(failures))
