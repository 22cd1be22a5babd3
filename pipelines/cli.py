"""The command line, `vigil`. Exit codes: 0 done, 1 a stage failed, 2 bad input, 130 interrupted."""

import logging
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from components import __version__
from components.errors import InputError
from components.logs import VERBOSE, configure_logging
from pipelines.commands import buckets, registry, schedule, submit, weights
from pipelines.commands.check import check, print_warnings
from pipelines.commands.compare import compare
from pipelines.commands.deploy import deploy
from pipelines.commands.doctor import doctor
from pipelines.commands.drift import drift
from pipelines.commands.experiment import experiment
from pipelines.commands.monitoring import exporter, watch
from pipelines.commands.options import ClusterDefaults
from pipelines.commands.pretrain import pretrain
from pipelines.commands.prune import prune
from pipelines.commands.schema import schema
from pipelines.commands.shots import shots
from pipelines.terminal import console, fail, resumable

if TYPE_CHECKING:
    from pipelines.lines.line import Line

logger = logging.getLogger(__name__)

app = typer.Typer(
    help="VIGIL: train visual anomaly detectors from few good images, with and without generated ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(buckets.app, name="buckets")
app.add_typer(registry.app, name="registry")
app.add_typer(schedule.app, name="schedule")
app.add_typer(weights.app, name="weights")

LineFile = Annotated[Path, typer.Argument(metavar="LINE.yaml", help="The production line.")]
Folder = Annotated[Path, typer.Option("--workdir", help="Folder of the line's runs; created when missing.")]
RunnerName = Annotated[
    Literal["subprocess", "docker"],
    typer.Option(help="Run the stages in processes of this environment, or in containers of the images."),
]
Destination = Annotated[
    str | None,
    typer.Option(envvar="VIGIL_PUBLISH", metavar="s3://BUCKET/PREFIX", help="Where to upload the results."),
]


@app.command()
def run(line: LineFile, workdir: Folder, runner: RunnerName = "subprocess", publish: Destination = None) -> None:
    """Run a line's pipeline on this machine; finished stages of an earlier run are reused.

    The line is checked first, as `vigil check` does.
    """
    from pipelines.checking.check import check_before_run
    from pipelines.lines.line import check_object, load_line
    from pipelines.local.results import check_destination, print_summary, publish_results
    from pipelines.local.run import run_line

    def before(checked: "Line") -> None:
        print_warnings(check_before_run(checked, here=runner == "subprocess"))

    if publish is not None:
        check_destination(publish)
    loaded = load_line(line)
    check_object(loaded)
    with resumable():
        results, tracking_uri = run_line(loaded, workdir, runner, before)
    print_summary(results, tracking_uri, console)
    if publish is not None:
        publish_results(results, publish)
        console.print(f"published: {publish}", soft_wrap=True)


@app.command()
def demo(workdir: Folder = Path("build/demo"), runner: RunnerName = "subprocess") -> None:
    """Run the whole pipeline on textures that scikit-image ships, with synthetic defects in the test split."""
    from pipelines.lines.demo import write_demo_line
    from pipelines.lines.line import load_line
    from pipelines.local.results import print_summary
    from pipelines.local.run import run_line

    line = load_line(write_demo_line(workdir.with_name(f"{workdir.name}-data")))
    with resumable():
        results, tracking_uri = run_line(line, workdir, runner)
    print_summary(results, tracking_uri, console)


@app.command("compile")
def compile_package(
    output: Annotated[Path, typer.Option("--output", "-o", help="Package to write, .yaml; a folder for many.")],
    line: Annotated[
        Path | None, typer.Argument(metavar="[LINE.yaml|DIR]", help="Line, or folder of lines, with task settings.")
    ] = None,
    cluster_defaults: ClusterDefaults = None,
) -> None:
    """Compile the training pipeline to a package that a cluster runs; without a line, one that serves all lines."""
    from components.stage.images import check_registry
    from pipelines.dags.package import write_package, write_packages
    from pipelines.lines.line import check_object, load_line_or_lines

    check_registry()
    lines = load_line_or_lines(line, cluster_defaults, check_object) if line else []
    if line and line.is_dir():
        paths = write_packages(output, lines)
    else:
        write_package(output, lines[0] if lines else None)
        paths = [output]
    for path in paths:
        console.print(str(path), soft_wrap=True)


@app.command()
def wordnet(
    to: Annotated[Path, typer.Option(help="NLTK data folder.")] = Path(sys.prefix) / "share/nltk_data",
    release: Annotated[str, typer.Option(help="3.0 or 3.1.")] = "3.0",
) -> None:
    """Install WordNet where NLTK finds it, without root: by NLTK, or Debian's packages (3.0) or npm's (3.1)."""
    from components.wordnet.install import install_wordnet

    console.print(f"WordNet {release} in {to}: {install_wordnet(to, release)}", soft_wrap=True)


app.command()(submit.submit)
app.command()(prune)
app.command()(pretrain)
app.command()(check)
app.command()(compare)
app.command()(drift)
app.command()(schema)
app.command()(experiment)
app.command()(exporter)
app.command()(watch)
app.command()(deploy)
app.command()(doctor)
app.command()(shots)


@app.callback(invoke_without_command=True)
def options(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", envvar=VERBOSE, help="Log more, with tracebacks.")] = False,
) -> None:
    """Options of all commands."""
    if verbose:
        os.environ[VERBOSE] = "1"
    configure_logging()
    if version:
        console.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line, and turn its errors into one line and an exit code."""
    try:
        app()
    except InputError as error:
        logger.debug("", exc_info=True)
        fail(str(error), 2)
    except KeyboardInterrupt:
        fail("interrupted", 130)
    except (RuntimeError, OSError) as error:
        logger.debug("", exc_info=True)
        fail(str(error), 1)
