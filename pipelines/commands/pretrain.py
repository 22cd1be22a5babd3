"""`vigil pretrain`: a base model for the generator, trained on the good images of many lines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.pretraining.config import Config
from pipelines.commands.options import ClusterDefaults, Package
from pipelines.terminal import console, resumable

Sources = Annotated[
    list[str] | None, typer.Argument(metavar="FOLDER", help="Folders of good images alone, local or s3://.")
]
Lines = Annotated[
    Path | None,
    typer.Option(metavar="LINE.yaml|DIR", help="Lines; the good training images of their data sets are taken."),
]
Folder = Annotated[Path, typer.Option("--to", help="Folder of the base model; created when missing.")]
Name = Annotated[str, typer.Option(help="Name of the base model in the weights manifest.")]


def _setting(name: str, *flags: str) -> Any:
    """Option of a setting, with the config's default and description."""
    field = Config.model_fields[name]
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return typer.Option(default, *flags, help=" ".join(str(field.description).split()))


SIZES = _setting("sizes", "--size")


def pretrain(
    sources: Sources = None,
    lines: Lines = None,
    to: Folder = Path("build/base"),
    name: Name = "vqgan-base",
    package: Package = None,
    cluster_defaults: ClusterDefaults = None,
    publish: str = _setting("publish"),
    licence: str = _setting("licence"),
    architecture: str = _setting("architecture"),
    steps: int = _setting("steps"),
    autoencoder_steps: int = _setting("autoencoder_steps"),
    learning_rate: float = _setting("learning_rate"),
    seed: int = _setting("seed"),
    codebook_size: int = _setting("codebook_size"),
    batch_size: int = _setting("batch_size"),
    sizes: list[int] = SIZES,
    image_side: int = _setting("image_side"),
    held_out: float = _setting("held_out"),
    perceptual: str = _setting("perceptual"),
    perceptual_backbone: str = _setting("perceptual_backbone"),
    adversarial_start: float = _setting("adversarial_start"),
) -> None:
    """Train a base model on the good images of many lines; a run that was interrupted goes on."""
    from components.weights.fetch import pinned
    from pipelines.dags.pretraining import datasets_of, write_package
    from pipelines.lines.line import load_line_or_lines

    given = {key: value for key, value in locals().items() if key in Config.model_fields}
    given |= {"sources": sources or (), "perceptual_backbone": pinned(perceptual_backbone)}
    datasets = datasets_of(load_line_or_lines(lines)) if lines is not None else ()
    config = Config(**given, datasets=datasets)
    if package is None:
        _run(to, name, config)
        return
    write_package(package, name, config, cluster_defaults)
    console.print(str(package), soft_wrap=True)


def _run(to: Path, name: str, config: Config) -> None:
    """Train, and print the figures and how a line takes the base model: by its name, where there is a manifest."""
    from components.artifacts import WEIGHTS
    from components.generator.checkpoint import CHECKPOINTS
    from components.pretraining.pretrain import pretrain as train
    from components.pretraining.publication import base_entry
    from components.weights.manifest import FILE, VARIABLE, add_entry

    columns = (TextColumn("{task.fields[loss]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = progress.add_task("", loss="", total=None)

    def on_step(step: int, total: int, scalars: Mapping[str, float]) -> None:
        progress.update(task, completed=step, total=total, loss=f"loss {scalars['total']:.3f}")

    os.environ.setdefault(CHECKPOINTS, str((to / "checkpoints").resolve()))
    with resumable(), progress:
        figures = train(to / "generator", config, on_step, name)
    for key, value in figures.items():
        console.print(f"{key}: {value}", soft_wrap=True)
    path, manifest = (to / "generator" / WEIGHTS).resolve(), figures.get("manifest")
    if config.licence and manifest is None:
        manifest = str((to / FILE).resolve())
        add_entry(manifest, base_entry(name, str(path), config, figures))
    reference = name if config.licence else f"{path}#sha256={figures['sha256']}"
    console.print(escape(f"vqgan.weights: {reference}"), soft_wrap=True)
    if config.licence:
        console.print(escape(f"with {VARIABLE}={manifest}"), soft_wrap=True)
