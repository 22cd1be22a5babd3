"""`vigil pretrain`: a base model for the generator, trained on the good images of many lines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from components.pretraining.config import Config
from pipelines.commands.options import ClusterDefaults
from pipelines.terminal import console, resumable

if TYPE_CHECKING:
    from components.stage.progress import OnStep

Sources = Annotated[
    list[str] | None, typer.Argument(metavar="FOLDER", help="Folders of good images alone, local or s3://.")
]
Lines = Annotated[
    Path | None,
    typer.Option(metavar="LINE.yaml|DIR", help="Lines; the good training images of their data sets are taken."),
]
Folder = Annotated[Path, typer.Option("--to", help="Folder of the base model; created when missing.")]
Name = Annotated[str, typer.Option(help="Name of the base model in the weights manifest.")]
Package = Annotated[
    Path | None,
    typer.Option("--compile", metavar="PACKAGE.yaml", help="Write the pipeline for a cluster, run nothing."),
]


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
    from pipelines.dags.pretraining import datasets_of
    from pipelines.lines.line import load_line_or_lines

    given = {key: value for key, value in locals().items() if key in Config.model_fields}
    config = Config(
        **{
            **given,
            "sources": sources or (),
            "datasets": datasets_of(load_line_or_lines(lines)) if lines is not None else (),
            "perceptual_backbone": pinned(perceptual_backbone),
        }
    )
    if package is None:
        _run(to, name, config)
        return
    from pipelines.dags.pretraining import write_package

    write_package(package, name, config, cluster_defaults)
    console.print(str(package), soft_wrap=True)


def _run(to: Path, name: str, config: Config) -> None:
    from components.generator.checkpoint import CHECKPOINTS
    from components.pretraining.pretrain import pretrain as train

    os.environ.setdefault(CHECKPOINTS, str((to / "checkpoints").resolve()))
    with resumable(), _progress() as progress:
        figures = train(to / "generator", config, _shown(progress), name)
    for key, value in figures.items():
        console.print(f"{key}: {value}", soft_wrap=True)
    for text in _use(to, name, config, figures):
        console.print(escape(text), soft_wrap=True)


def _use(to: Path, name: str, config: Config, figures: Mapping[str, Any]) -> list[str]:
    """How a line takes the base model: under its name, where there is a manifest."""
    from components.artifacts import WEIGHTS
    from components.pretraining.publication import base_entry
    from components.weights.manifest import FILE, VARIABLE, add_entry

    path, manifest = (to / "generator" / WEIGHTS).resolve(), figures.get("manifest")
    if not config.licence:
        return [f"vqgan.weights: {path}#sha256={figures['sha256']}"]
    if manifest is None:
        manifest = str((to / FILE).resolve())
        add_entry(manifest, base_entry(name, str(path), config, figures))
    return [f"vqgan.weights: {name}", f"with {VARIABLE}={manifest}"]


def _progress() -> Progress:
    columns = (TextColumn("{task.fields[loss]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _shown(progress: Progress) -> "OnStep":
    task = progress.add_task("", loss="", total=None)

    def on_step(step: int, total: int, scalars: Mapping[str, float]) -> None:
        progress.update(task, completed=step, total=total, loss=f"loss {scalars['total']:.3f}")

    return on_step
