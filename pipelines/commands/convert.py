"""`vigil weights convert`: public VQGAN weights as one safetensors file for `vqgan.weights`."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.terminal import console

Source = Annotated[Path, typer.Argument(help="taming-transformers' f16 checkpoint, or a folder of diffusers' VQModel.")]
Folder = Annotated[Path, typer.Option("--to", help="Folder to write; an earlier one is replaced.")]


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
