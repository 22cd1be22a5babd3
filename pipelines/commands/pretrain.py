"""`vigil pretrain`: a base model for the generator, trained on the good images of many lines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.commands.options import ClusterDefaults
from pipelines.terminal import console, resumable

if TYPE_CHECKING:
    from components.pretraining.config import PretrainConfig
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
Publish = Annotated[
    str, typer.Option(metavar="s3://BUCKET/PREFIX", help="Upload the base model, and add it to weights.yaml there.")
]
Licence = Annotated[
    str, typer.Option(metavar="SPDX", help="Licence of the weights, for their entry in a weights manifest.")
]
Package = Annotated[
    Path | None,
    typer.Option("--compile", metavar="PACKAGE.yaml", help="Write the pipeline for a cluster, run nothing."),
]


def pretrain(
    sources: Sources = None,
    lines: Lines = None,
    to: Folder = Path("build/base"),
    name: Name = "vqgan-base",
    publish: Publish = "",
    licence: Licence = "",
    package: Package = None,
    cluster_defaults: ClusterDefaults = None,
    architecture: Annotated[str, typer.Option(help="small or f16.")] = "small",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 20_000,
    autoencoder_steps: Annotated[int, typer.Option(help="First steps, without quantisation.")] = 1000,
    learning_rate: Annotated[float, typer.Option(help="Adam's largest step size.")] = 5e-4,
    seed: Annotated[int, typer.Option(help="Draws initial weights, held-out images and crops.")] = 0,
    codebook_size: Annotated[int, typer.Option(help="Number of codebook vectors.")] = 512,
    batch_size: Annotated[int, typer.Option(help="Crops of the smallest size in each step.")] = 8,
    size: Annotated[list[int] | None, typer.Option(help="Side of the crops in pixels; may be repeated.")] = None,
    image_side: Annotated[int, typer.Option(help="Longest side at which images are read.")] = 1024,
    held_out: Annotated[float, typer.Option(help="Share of the images that give the figures.")] = 0.1,
    perceptual: Annotated[str, typer.Option(help="efficientnet or lpips.")] = "efficientnet",
    perceptual_backbone: Annotated[str, typer.Option(help="Weights of VGG16, for lpips.")] = "vgg16",
    adversarial_start: Annotated[float, typer.Option(help="Share of the steps without the discriminator.")] = 1.0,
) -> None:
    """Train a base model on the good images of many lines; a run that was interrupted goes on."""
    from components.pretraining.config import PretrainConfig
    from components.weights.fetch import pinned

    config = PretrainConfig(
        sources=tuple(sources or ()),
        datasets=_datasets(lines),
        publish=publish,
        licence=licence,
        architecture=architecture,
        steps=steps,
        autoencoder_steps=autoencoder_steps,
        learning_rate=learning_rate,
        seed=seed,
        codebook_size=codebook_size,
        batch_size=batch_size,
        sizes=tuple(size) if size else PretrainConfig.model_fields["sizes"].default,
        image_side=image_side,
        held_out=held_out,
        perceptual=perceptual,
        perceptual_backbone=pinned(perceptual_backbone),
        adversarial_start=adversarial_start,
    )
    if package is None:
        _run(to, name, config)
        return
    from pipelines.dags.pretraining import write_package

    write_package(package, name, config, cluster_defaults)
    console.print(str(package), soft_wrap=True)


def _datasets(lines: Path | None) -> tuple[dict[str, str], ...]:
    from pipelines.dags.pretraining import datasets_of
    from pipelines.lines.line import load_line_or_lines

    return datasets_of(load_line_or_lines(lines)) if lines is not None else ()


def _run(to: Path, name: str, config: "PretrainConfig") -> None:
    from components.generator.checkpoint import CHECKPOINTS
    from components.pretraining.pretrain import pretrain as train

    os.environ.setdefault(CHECKPOINTS, str((to / "checkpoints").resolve()))
    with resumable(), _progress() as progress:
        figures = train(to / "generator", config, _shown(progress), name)
    for key, value in figures.items():
        console.print(f"{key}: {value}", soft_wrap=True)
    for text in _use(to, name, config, figures):
        console.print(escape(text), soft_wrap=True)


def _use(to: Path, name: str, config: "PretrainConfig", figures: Mapping[str, Any]) -> list[str]:
    """How a line takes the base model: under its name, where there is a manifest."""
    from components.artifacts import WEIGHTS
    from components.pretraining.publication import base_entry
    from components.weights.manifest import FILE, VARIABLE, add_entry

    path, manifest = (to / "generator" / WEIGHTS).resolve(), figures.get("manifest")
    if not config.licence:
        return [f"generator.weights: {path}#sha256={figures['sha256']}"]
    if manifest is None:
        manifest = str((to / FILE).resolve())
        add_entry(manifest, base_entry(name, str(path), config, figures))
    return [f"generator.weights: {name}", f"with {VARIABLE}={manifest}"]


def _progress() -> Progress:
    columns = (TextColumn("{task.fields[loss]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _shown(progress: Progress) -> "OnStep":
    task = progress.add_task("", loss="", total=None)

    def on_step(step: int, total: int, scalars: Mapping[str, float]) -> None:
        progress.update(task, completed=step, total=total, loss=f"loss {scalars['total']:.3f}")

    return on_step
