"""`vigil weights`: the pretrained weights that profiles and lines need: list, verify, mirror, convert."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from pipelines.terminal import console

if TYPE_CHECKING:
    from components.weights.mirror import Verified

app = typer.Typer(no_args_is_help=True)

Profile = Annotated[str, typer.Option(help="embedded, standard, or all for every entry of the manifest.")]
LineOption = Annotated[Path | None, typer.Option("--line", metavar="LINE.yaml", help="Add what this line names.")]
VerifiedMirror = Annotated[
    str | None,
    typer.Argument(metavar="[s3://BUCKET/PREFIX]", help="A mirror to read; else this machine's files."),
]
MirrorUri = Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX", help="The mirror.")]
Source = Annotated[Path, typer.Argument(help="taming-transformers' f16 checkpoint, or a folder of diffusers' VQModel.")]
Folder = Annotated[Path, typer.Option("--to", help="Folder to write; an earlier one is replaced.")]


@app.callback()
def weights() -> None:
    """Pretrained weights that profiles and lines need."""


@app.command()
def convert(source: Source, to: Folder) -> None:
    """Convert public VQGAN weights to safetensors, with every tensor accounted for; nothing is unpickled."""
    from components.generator.convert import convert as run

    facts = run(source, to)
    console.print(f"{facts['tensors']} tensors written, {len(facts['dropped'])} of training only dropped:")
    for name in facts["dropped"]:
        console.print(f"  {name}", soft_wrap=True, markup=False)
    settings = {"architecture": "stored", "codebook_size": facts["codebook_size"]}
    settings["weights"] = f"{Path(facts['path']).resolve()}#sha256={facts['sha256']}"
    fields = ", ".join(f"{key}: {value}" for key, value in settings.items())
    console.print(f"vqgan: {{{fields}}}", soft_wrap=True, markup=False)


@app.command("list")
def list_weights(profile: Profile = "all", line: LineOption = None) -> None:
    """Show name, licence, size where it is known, digest, source, where the file is, and figures that are recorded."""
    from rich.table import Table

    from components.weights.fetch import cached_path, local_path, resolve

    table = Table()
    for title in ("name", "licence", "MB", "sha256", "source", "here"):
        table.add_column(title, overflow="fold")
    entries = [resolve(reference) for reference in _references(profile, line)]
    for entry in entries:
        places = {"local": local_path(entry), "cached": cached_path(entry)}
        here, path = next(((word, path) for word, path in places.items() if path and path.is_file()), ("", None))
        size = "" if path is None else f"{path.stat().st_size / 1e6:.2f}"
        cells = (entry.name, entry.licence, size, entry.sha256[:12], entry.uri, here)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    for entry in entries:
        if entry.figures:
            shown = ", ".join(f"{name} {value}" for name, value in entry.figures.items())
            console.print(f"{escape(entry.name)}: {escape(shown)}", soft_wrap=True)


@app.command()
def verify(uri: VerifiedMirror = None, profile: Profile = "all", line: LineOption = None) -> None:
    """Fetch every file and check its digest, or read all that a mirror holds; exit code 1 when one fails."""
    from components.weights.fetch import resolve
    from components.weights.mirror import verify as verify_mirror

    references = _references(profile, line)
    results: Iterable[Verified] = map(_fetched, references)
    if uri is not None:
        results = verify_mirror([resolve(reference) for reference in references], _checked(uri, "verify"))
    failed = False
    for name, place, fault in results:
        failed |= bool(fault)
        state = f"[red]failed[/], {escape(fault)}" if fault else f"ok, {escape(place)}"
        console.print(f"{escape(name)}: {state}", soft_wrap=True)
    if failed:
        raise typer.Exit(1)


@app.command()
def mirror(uri: MirrorUri, profile: Profile = "all", line: LineOption = None) -> None:
    """Copy every file to an object store under its sha256; those that are there stay as they are."""
    from components.errors import InputError
    from components.storage.s3 import publish_file
    from components.weights.fetch import fetch, resolve
    from components.weights.mirror import VARIABLE, is_mirrored, write_index

    uri = _checked(uri, "mirror")
    entries = {reference: resolve(reference) for reference in _references(profile, line)}
    present = {reference for reference, entry in entries.items() if is_mirrored(entry, uri)}
    there = []
    for reference, entry in entries.items():
        try:
            if reference not in present:
                publish_file(fetch(reference, from_origin=True), f"{uri}/{entry.sha256}")
        except (InputError, OSError) as error:
            console.print(f"{escape(entry.name)}: [red]failed[/], {escape(str(error))}", soft_wrap=True)
            continue
        there.append(entry)
        state = "is there" if reference in present else "copied"
        console.print(f"{escape(entry.name)}: {state}, {uri}/{entry.sha256}", soft_wrap=True)
    write_index(there, uri)
    if len(there) < len(entries):
        raise typer.Exit(1)
    console.print(f"{VARIABLE}={uri} makes runs fetch from there alone", soft_wrap=True)


def _checked(uri: str, name: str) -> str:
    """A mirror's address without a slash at its end."""
    from components.errors import check
    from components.storage.addresses import is_s3

    check(is_s3(uri), name, uri, "s3://BUCKET/PREFIX")
    return uri.rstrip("/")


def _fetched(reference: str) -> "Verified":
    from components.errors import InputError
    from components.weights.fetch import fetch
    from components.weights.mirror import Verified

    name = reference.partition("#")[0]
    try:
        return Verified(name, str(fetch(reference)), "")
    except (InputError, OSError) as error:
        return Verified(name, "", str(error))


def _references(profile: str, line: Path | None) -> list[str]:
    from components.weights.fetch import manifest
    from pipelines.lines.line import load_line, profile_weights

    named = [reference for _, reference in load_line(line).named_weights()] if line is not None else []
    names = {f"{entry.uri}#sha256={entry.sha256}": name for name, entry in manifest().items()}
    return list(dict.fromkeys([*profile_weights(profile), *(names.get(found, found) for found in named)]))
