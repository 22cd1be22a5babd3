"""The stages of experiments: how each is run on this machine, by its library function."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from components.progress import untold

Inputs = Mapping[str, Path]
Run = Callable[[Inputs, Sequence[Path], Path, Any], Any]
"""Takes input artifacts by name, the detectors of an evaluation, the artifact to write, and the config."""


def _ingest(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.ingestion.ingest import ingest_dataset

    ingest_dataset(output, config)


def _import(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.ingestion.folder import import_images

    import_images(output, config)


def _find_prompts(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.prompts.generate import generate_prompts

    generate_prompts(inputs["reference"], output, config)


def _augment(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.augmentation.augment import augment_images

    augment_images(inputs["reference"], output, config)


def _generate(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.vqgan.fine_tune import fine_tune

    fine_tune(inputs["reference"], inputs["augmented"], output, output.with_name("generator"), config, untold)


def _select(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.selection.integrate import select_images

    select_images(inputs["prompts"], inputs["candidates"], output, config)


def _generate_from_text(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.vqgan.text_guided import generate_from_text

    generate_from_text(inputs["reference"], inputs["prompts"], output, config, untold)


def _train(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.detection.train import train_detector

    train_detector(inputs["reference"], inputs["augmented"], inputs["selected"], output, config)


def _evaluate(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.evaluation.evaluate import evaluate_detectors

    evaluate_detectors(inputs["reference"], detectors, output, config)


def _measure_quality(inputs: Inputs, detectors: Sequence[Path], output: Path, config: Any) -> None:
    from components.quality.measure import measure_quality

    measure_quality(inputs["reference"], inputs["images"], output, config)


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
