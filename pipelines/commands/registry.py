"""`vigil registry`: the versions of a line's model in MLflow, and who is its champion."""

import getpass
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from components.errors import InputError
from pipelines.terminal import console

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

app = typer.Typer(help="Versions of a line's detector in MLflow, and which one is the champion.", no_args_is_help=True)

_URI = "MLFLOW_TRACKING_URI"
_SQLITE = "sqlite:///"
_DIGEST_CHARACTERS = 12
_COLUMNS = ("version", "aliases", "metric", "training set", "test split", "gate", "created", "run")

Line = Annotated[str, typer.Argument(metavar="LINE", help="Name of the line and of its registered model.")]
Address = Annotated[str, typer.Option("--tracking-uri", envvar=_URI, help="MLflow's address.", show_default=False)]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.")]


@app.command("list")
def list_versions(
    line: Annotated[str, typer.Argument(metavar="[LINE]", help="Name of the line; all lines without it.")] = "",
    tracking_uri: Address = "",
) -> None:
    """List the versions of a line, or of all lines: aliases, metric, training set, test split, the gate's decision."""
    with mlflow_at(tracking_uri):
        from components.registry.promotion import LineModel, line_names

        names = [line] if line else line_names()
        if not names:
            console.print("no line has registered a model yet")
        for name in names:
            model = LineModel(name)
            console.print(_table(name, model.versions(), model.aliases()))


@app.command()
def promote(
    line: Line,
    version: Annotated[str, typer.Argument(help="Version to make the champion.")],
    force: Annotated[bool, typer.Option("--force", help="Promote without asking the gate.")] = False,
    reason: Reason = "",
    tracking_uri: Address = "",
) -> None:
    """Make a version the champion, if the limits of the line hold against the present champion."""
    with mlflow_at(tracking_uri):
        from components.registry.promotion import LineModel

        before = LineModel(line).promote(version, by=_person(), why=reason, force=force)
        console.print(f"{line}: champion is version {version}, was {before or 'none'}")


@app.command()
def rollback(line: Line, reason: Reason = "", tracking_uri: Address = "") -> None:
    """Make the previous champion the champion again; once more goes one further back."""
    with mlflow_at(tracking_uri):
        from components.registry.promotion import LineModel

        before, after = LineModel(line).rollback(by=_person(), why=reason)
        console.print(f"{line}: champion is version {after}, was {before or 'none'}")


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """Set the address that MLflow reads, and turn MLflow's errors into one-line ones."""
    if not uri:
        raise InputError(f"tracking URI: got none, expected --tracking-uri or {_URI}")
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():
        raise InputError(f"tracking URI: no database at {uri.removeprefix(_SQLITE)}")
    os.environ[_URI] = uri
    from components.tracking.client import errors_in_one_line

    with errors_in_one_line():
        yield


def _table(line: str, versions: "list[ModelVersion]", aliases: dict[str, str]) -> Table:
    table = Table(*_COLUMNS, title=line)
    for version in versions:
        number = str(version.version)
        own = ", ".join(sorted(alias for alias, target in aliases.items() if target == number))
        names = ("metric", "training_set", "evaluation_digest", "gate")
        metric, training_set, digest, gate = (version.tags.get(f"vigil.{name}", "-") for name in names)
        created = f"{datetime.fromtimestamp(version.creation_timestamp / 1000, UTC):%Y-%m-%d %H:%M}"
        run = version.tags.get("vigil.run_id") or version.run_id
        table.add_row(number, own, metric, training_set, digest[:_DIGEST_CHARACTERS], gate, created, run)
    return table


def _person() -> str:
    """The user's name; a container's user may have none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"
