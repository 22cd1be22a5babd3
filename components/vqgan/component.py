"""KFP component of the vqgan stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def generate(
    line: str,
    reference: Input[Dataset],
    augmented: Input[Dataset],
    candidates: Output[Dataset],
    generator: Output[Model],
    metrics: Output[Metrics],
    architecture: str = "small",
    weights: str = "",
    codebook_size: int = 512,
    iterations: int = 8,
    images: int = 16,
    steps: int = 15,
    batch_size: int = 4,
    learning_rate: float = 1e-3,
    vq_weight: float = 1.0,
    perceptual_weight: float = 1.0,
    adversarial_weight: float = 0.8,
    adversarial_start: int = 90,
    commitment: float = 0.25,
    restart_codes: bool = True,
    center: str = "mean",
    variance: str = "estimated",
    temperature: float = 1.0,
    seed: int = 0,
) -> None:
    """Fine-tune the variance-aware VQGAN and write a candidate set per iteration (paper sections 4.1.2, 4.2).

    Args:
        line: name of the production line.
        reference: image set.
        augmented: image set.
        candidates: one set of images per iteration.
        generator: fine-tuned VQGAN.
        metrics: losses of the last iteration.
        architecture: small or f16.
        weights: reference to pretrained weights; empty starts untrained.
        codebook_size: number of codebook vectors.
        iterations: number of candidate sets.
        images: images in each set.
        steps: optimiser steps per iteration.
        batch_size: images per step.
        learning_rate: Adam's step size.
        vq_weight: lambda of Eq. 7.
        perceptual_weight: weight of the perceptual distance.
        adversarial_weight: weight of the adversarial term.
        adversarial_start: first step with the adversarial term.
        commitment: weight of the commitment term.
        restart_codes: move unused codebook vectors to the data.
        center: mean or own.
        variance: estimated, unit or none.
        temperature: factor on the standard deviation.
        seed: draws weights, batches and samples.
    """
    from components.stage import stage
    from components.vqgan.config import Config
    from components.vqgan.fine_tune import fine_tune

    with stage("vqgan", line) as run:
        config = run.configure(
            Config(
                architecture=architecture,
                weights=weights,
                codebook_size=codebook_size,
                iterations=iterations,
                images=images,
                steps=steps,
                batch_size=batch_size,
                learning_rate=learning_rate,
                vq_weight=vq_weight,
                perceptual_weight=perceptual_weight,
                adversarial_weight=adversarial_weight,
                adversarial_start=adversarial_start,
                commitment=commitment,
                restart_codes=restart_codes,
                center=center,
                variance=variance,
                temperature=temperature,
                seed=seed,
            )
        )
        result = fine_tune(reference.path, augmented.path, candidates.path, generator.path, config, run.progress)
        run.finish(candidates.path, result, metrics)
