"""`vigil shots`: which images of a folder are worth labelling as good."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.terminal import console

if TYPE_CHECKING:
    from pipelines.local.shots import ChosenShots

_ROWS = 10


def shots(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Unlabelled images, local or s3://BUCKET/PREFIX.")],
    count: Annotated[int, typer.Option("--shots", "-k", min=1, help="How many images are chosen.")] = 5,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of sheet and lists.")] = Path("build/shots"),
    seed: Annotated[int, typer.Option(min=0, help="Decides between equal images alone.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Choose the images that represent a folder best, to be labelled as good; a few bad ones among them do no harm.

    The oddest ones are listed apart, to be looked at. Nothing in the folder is changed.
    """
    from pipelines.local.shots import SHEET, choose_of_folder

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True, disable=as_json or not console.is_terminal)
    task = progress.add_task("", total=None)

    def on_step(what: str, number: int, total: int) -> None:
        progress.update(task, description=what, completed=number, total=total)

    with progress:
        found = choose_of_folder(folder, count, seed, output, on_step)
    if as_json:
        typer.echo(json.dumps(found.to_content(), indent=2))
        return
    _print(found)
    console.print(escape(f"sheet: {output / SHEET}"), soft_wrap=True)


def _print(found: "ChosenShots") -> None:
    from rich.table import Table

    from components.listing.files import readable

    for title, indices in (("chosen", found.choice.shots), ("look at these", found.choice.look_at)):
        console.print(f"{title}: {len(indices)} of {len(found.names)} images")
        table = Table("", "file", "oddness")
        for rank, at in enumerate(indices[:_ROWS], 1):
            table.add_row(str(rank), escape(readable(found.names[at])), f"{found.choice.oddness[at]:.2f}")
        if len(indices) > _ROWS:
            table.add_row("", f"and {len(indices) - _ROWS} more", "")
        console.print(table)
    for name, reason in found.left_out[:_ROWS]:
        console.print(escape(f"left out: {name}: {reason}"), soft_wrap=True)
    if len(found.left_out) > _ROWS:
        console.print(f"left out: {len(found.left_out) - _ROWS} more")
