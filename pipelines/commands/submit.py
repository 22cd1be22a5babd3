"""`vigil submit`: one run of a line, or of every line of a folder, on a cluster."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from components.errors import InputError, check
from components.tracking.events import TRACKING_URI
from pipelines.cluster.following import SUCCEEDED, Cause, failure_of, follow_run, logged_cause
from pipelines.cluster.kubeflow import Kubeflow
from pipelines.cluster.transport import ClusterAnswerError, ClusterError, ClusterUnavailableError
from pipelines.commands.options import CaFile, ClusterDefaults, Host, Mounted, Namespace, Timeout, TokenFile, connect
from pipelines.terminal import console, errors

if TYPE_CHECKING:
    from pipelines.lines.line import Line

_SHOWN_LINES = 20
_STORE = ("S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "S3_CREDENTIALS_DIR")
"""Variables of which one is set where the object store can be reached."""


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

    All files are checked before the first run is started, and the data sets that can be reached from here. A line's
    package is uploaded as a version of the pipeline `vigil-training` unless it is there. Interrupting `--wait` does not
    end a run.
    """
    from pipelines.cluster.submission import check_for_cluster, start_run
    from pipelines.lines.line import load_line_or_lines

    def check_found(found: "Line") -> None:
        check_for_cluster(found, mounted=mounted)
        _check_data(found)

    lines = load_line_or_lines(line, cluster_defaults, check_found)
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


def _check_data(line: "Line") -> None:
    """Check what can be reached from here of a line's data; `InputError` where a run would fail."""
    from components.storage.addresses import is_s3
    from components.storage.s3 import list_objects
    from pipelines.checking.check import check_before_run

    uri = line.dataset.uri
    if not (any(os.environ.get(name) for name in _STORE) if is_s3(uri) else Path(uri).is_dir()):
        return
    if is_s3(uri):
        try:
            list_objects(uri)
        except (InputError, OSError) as error:  # the tasks may have a way and credentials that this machine has not
            errors.print(f"warning: {escape(f'{line.name}: not checked: {error}')}", soft_wrap=True)
            return
    for finding in check_before_run(line, here=False).of("warning"):
        errors.print(f"warning: {escape(f'{line.name}: {finding.message}')}", soft_wrap=True)


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
            failures.append(f"{start}{_failure(cluster, line, run, partial(show, start))}")
    if failures:
        count = f"{len(failures)} of {len(runs)} runs did not succeed: " if len(runs) > 1 else ""
        raise ClusterError(count + "; ".join(failures))


def _failure(cluster: Kubeflow, line: str, run: Any, show: Callable[[str], None]) -> str:
    """What failed in a run, in one line; the last lines of the stage that failed are shown before."""
    cause, unknown = _recorded(line, run.run_id)
    if cause is None:
        try:
            cause = logged_cause(cluster, run)
        except ClusterError as error:
            unknown = f"{unknown}, no logs of the cluster ({error})"
    for text in cause.lines if cause else ():
        show(f"  {text}")
    what = f"{cause.stage}: {cause.message}" if cause else f"no stage's message is found: {unknown}"
    return f"{failure_of(run)}; {what}; see {cluster.run_url(run.run_id)}"


def _recorded(line: str, run_id: str) -> tuple[Cause | None, str]:
    """What MLflow has of a run's failure, or None and why it has nothing."""
    if not os.environ.get(TRACKING_URI):
        return None, f"{TRACKING_URI} is not set"
    from components.tracking.client import errors_in_one_line
    from components.tracking.failures import recorded_failure

    try:
        with errors_in_one_line():
            found = recorded_failure(line, run_id)
    except (RuntimeError, OSError) as error:
        return None, str(error)
    if found is None:
        return None, "none in MLflow"
    message = " ".join(found.message.split())
    return Cause(stage=found.stage, message=message, lines=tuple(found.log.splitlines()[-_SHOWN_LINES:])), ""
