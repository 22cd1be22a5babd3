"""The stages of experiments: how each is run on this machine, by its library function."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from components.stage.progress import ignore_progress
from pipelines.experiments.nodes import Node

Inputs = Mapping[str, Path]
Run = Callable[[Inputs, Sequence[Path], Path, Node], None]
"""Takes input artifacts by name, the detectors of an evaluation, the artifact to write, and the task."""


def is_final(node: Node, output: Path) -> bool:
    """Whether another run would give the same artifact: not where weights could not be fetched for a figure."""
    from components.quality.measure import is_final as is_final_quality

    return node.stage != "quality" or is_final_quality(output)


def _ingest(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.dataset.ingest import ingest_dataset

    ingest_dataset(output, node.config, node.data)


def _import(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.dataset.folder import import_images

    import_images(output, node.config, node.data)


def _find_prompts(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.prompts.generate import generate_prompts

    generate_prompts(inputs["reference"], output, node.config)


def _augment(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.augmentation.augment import augment_images

    augment_images(inputs["reference"], output, node.config)


def _generate(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.vqgan.fine_tune import fine_tune

    fine_tune(
        inputs["reference"], inputs["augmented"], output, output.with_name("generator"), node.config, ignore_progress
    )


def _select(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.selection.integrate import select_images

    select_images(inputs["prompts"], inputs["candidates"], output, node.config)


def _generate_from_text(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.vqgan_clip.generate import generate_from_text

    generate_from_text(inputs["reference"], inputs["prompts"], output, node.config, ignore_progress)


def _train(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.detection.train import train_detector

    train_detector(inputs["reference"], inputs["augmented"], inputs["selected"], output, node.config)


def _evaluate(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.evaluation.evaluate import evaluate_detectors

    evaluate_detectors(inputs["reference"], detectors, output, node.config)


def _measure_quality(inputs: Inputs, detectors: Sequence[Path], output: Path, node: Node) -> None:
    from components.quality.measure import measure_quality

    measure_quality(inputs["reference"], inputs["images"], output, node.config)


STAGES: Mapping[str, Run] = {
    "ingestion": _ingest,
    "folder": _import,
    "prompts": _find_prompts,
    "augmentation": _augment,
    "generator": _generate,
    "selection": _select,
    "text_guided": _generate_from_text,
    "detection": _train,
    "evaluation": _evaluate,
    "quality": _measure_quality,
}
"""Stages by the name that `Node.stage` has."""
