"""The command line, `vigil`. Exit codes: 0 done, 1 a stage failed, 2 bad input, 130 interrupted."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from components import __version__
from components.errors import InputError

app = typer.Typer(
    help="VIGIL: train visual anomaly detectors from few good images, with and without generated ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)

LineFile = Annotated[Path, typer.Argument(metavar="LINE.yaml", help="The production line.")]
Folder = Annotated[Path, typer.Option("--workdir", help="Folder of the line's runs; created when missing.")]


@app.command()
def run(line: LineFile, workdir: Folder) -> None:
    """Run a line's pipeline on this machine; finished stages of an earlier run are reused."""
    from pipelines.line import load_line
    from pipelines.local import run_line
    from pipelines.summary import print_summary

    print_summary(run_line(load_line(line), workdir), console)


@app.command()
def demo(workdir: Folder = Path("build/demo")) -> None:
    """Run the whole pipeline on textures that scikit-image ships, with synthetic defects in the test split."""
    from pipelines.demo import write_demo_line
    from pipelines.line import load_line
    from pipelines.local import run_line
    from pipelines.summary import print_summary

    line = load_line(write_demo_line(workdir.with_name(f"{workdir.name}-data")))
    print_summary(run_line(line, workdir), console)


@app.command("compile")
def compile_package(
    output: Annotated[Path, typer.Option("--output", "-o", help="Package to write, .yaml.")],
) -> None:
    """Compile the training pipeline to the package that a cluster runs; it serves all lines."""
    from kfp import compiler

    from pipelines.training import training

    if output.suffix not in (".yaml", ".yml"):
        raise InputError(f"output: got {output}, expected a .yaml file")
    if not output.resolve().parent.is_dir():
        raise InputError(f"output: {output.parent} is not a folder")
    compiler.Compiler().compile(training, str(output))
    console.print(str(output), soft_wrap=True)


@app.command()
def weights(verify: Annotated[bool, typer.Option(help="Fetch every file and check its digest.")] = False) -> None:
    """List the pretrained weights that profiles use, with licence and digest."""
    from components.weights import fetch, manifest

    for entry in manifest().values():
        checked = f"  verified: {fetch(entry.name)}" if verify else ""
        console.print(f"{entry.name}  {entry.licence}  sha256={entry.sha256}  {entry.uri}{checked}", soft_wrap=True)


@app.command()
def wordnet(to: Annotated[Path, typer.Option(help="NLTK data folder.")] = Path(sys.prefix) / "share/nltk_data") -> None:
    """Install WordNet where NLTK finds it, without root: from NLTK's server or from Debian's packages."""
    from components.prompts.wordnet_files import install_wordnet

    console.print(f"WordNet in {to}: {install_wordnet(to)}", soft_wrap=True)


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Options of all commands."""
    if show:
        console.print(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command line, and turn its errors into one line and an exit code."""
    try:
        app()
    except InputError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted; run the same command again to go on", 130)
    except (RuntimeError, OSError) as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    errors.print(f"[bold red]error:[/] {escape(' '.join(message.split()))}", soft_wrap=True)
    raise SystemExit(code)
