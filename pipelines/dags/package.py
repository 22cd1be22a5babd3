"""Packages: what a cluster runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.errors import InputError, check
from pipelines.lines.cluster import Cluster
from pipelines.lines.line import Line


def write_package(path: Path, line: Line | None = None) -> None:
    """Compile the training pipeline with a line's task settings and pod labels; the same line gives the same bytes.

    Without a line, the package serves all lines, which then differ by the pipeline's parameters only. Raises
    `InputError` where the path is no .yaml file in an existing folder.
    """
    from pipelines.dags.training import training_pipeline

    check_package(path)
    compile_package(path, training_pipeline(line.cluster, line.name) if line else training_pipeline(Cluster()))


def compile_package(path: Path, pipeline: Any) -> None:
    """Write a pipeline as a package."""
    from kfp import compiler

    compiler.Compiler().compile(pipeline, str(path))


def check_package(path: Path) -> None:
    """Raise `InputError` unless a package can be written: a .yaml file in an existing folder."""
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"output: got {path}, expected a .yaml file")
    if not path.resolve().parent.is_dir():
        raise InputError(f"output: {path.parent} is not a folder")


def write_packages(folder: Path, lines: Sequence[Line]) -> list[Path]:
    """Write the package of each line as `NAME.yaml` into a folder, which is created when missing."""
    check(not folder.exists() or folder.is_dir(), "output", str(folder), "a folder, for several lines")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{line.name}.yaml" for line in lines]
    for path, line in zip(paths, lines, strict=True):
        write_package(path, line)
    return paths
