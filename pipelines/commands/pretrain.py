"""`vigil pretrain`: a base model for the generator, trained on the good images of many lines."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.terminal import console

if TYPE_CHECKING:
    from components.progress import OnStep

Sources = Annotated[list[str], typer.Argument(metavar="SOURCE...", help="Folders of good images, local or s3://.")]
Folder = Annotated[Path, typer.Option("--to", help="Folder of the base model; created when missing.")]
Name = Annotated[str, typer.Option(help="Name of the base model in the weights manifest.")]


def pretrain(
    sources: Sources,
    to: Folder,
    name: Name = "vqgan-base",
    steps: Annotated[int, typer.Option(help="Optimiser steps.")] = 20_000,
    autoencoder_steps: Annotated[int, typer.Option(help="First steps, without quantisation.")] = 1000,
    seed: Annotated[int, typer.Option(help="Draws initial weights, held-out images and crops.")] = 0,
    codebook_size: Annotated[int, typer.Option(help="Number of codebook vectors.")] = 512,
    batch_size: Annotated[int, typer.Option(help="Crops of the smallest size in each step.")] = 8,
    size: Annotated[list[int] | None, typer.Option(help="Side of the crops in pixels; may be repeated.")] = None,
    image_side: Annotated[int, typer.Option(help="Longest side at which images are read.")] = 1024,
    perceptual: Annotated[str, typer.Option(help="efficientnet or lpips.")] = "efficientnet",
    adversarial_start: Annotated[float, typer.Option(help="Share of the steps without the discriminator.")] = 1.0,
) -> None:
    """Train a base model on the good images of many lines; a run that was interrupted goes on."""
    from components.vqgan.checkpoint import CHECKPOINTS
    from components.vqgan.pretrain import pretrain as train
    from components.vqgan.pretrain_config import PretrainConfig

    config = PretrainConfig(
        sources=tuple(sources),
        steps=steps,
        autoencoder_steps=autoencoder_steps,
        seed=seed,
        codebook_size=codebook_size,
        batch_size=batch_size,
        sizes=tuple(size) if size else PretrainConfig.sizes,
        image_side=image_side,
        perceptual=perceptual,
        adversarial_start=adversarial_start,
    )
    os.environ.setdefault(CHECKPOINTS, str((to / "checkpoints").resolve()))
    with _progress() as progress:
        figures = train(to / "generator", config, _shown(progress))
    for key, value in figures.items():
        console.print(f"{key}: {value}", soft_wrap=True)
    console.print(manifest_entry(name, to / "generator", str(figures["sha256"])), soft_wrap=True, markup=False)


def _progress() -> Progress:
    columns = (TextColumn("{task.fields[loss]}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def _shown(progress: Progress) -> "OnStep":
    task = progress.add_task("", loss="", total=None)

    def on_step(step: int, total: int, scalars: Mapping[str, float]) -> None:
        progress.update(task, completed=step, total=total, loss=f"loss {scalars['total']:.3f}")

    return on_step


def manifest_entry(name: str, generator: Path, sha256: str) -> str:
    """Lines for the weights manifest; the licence is for the owner of the images to state."""
    from components.artifacts import WEIGHTS

    return f"{name}:\n  uri: {(generator / WEIGHTS).resolve()}\n  sha256: {sha256}\n  licence: LicenseRef-Proprietary"
