"""KFP component of the vqgan stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def generate(
    line: str,
    reference: Input[Dataset],
    augmented: Input[Dataset],
    candidates: Output[Dataset],
    generator: Output[Model],
    metrics: Output[Metrics],
    architecture: str = "small",
    weights: str = "base",
    codebook_size: int = 512,
    iterations: int = 8,
    images: int = 16,
    steps: int = 15,
    batch_size: int = 4,
    accumulate: int = 1,
    learning_rate: float = 1e-3,
    vq_weight: float = 1.0,
    perceptual: str = "efficientnet",
    perceptual_backbone: str = "vgg16",
    perceptual_weight: float = 1.0,
    adversarial_weight: float = 0.1,
    adversarial_start: float = 0.75,
    commitment: float = 0.25,
    restart_codes: bool = True,
    center: str = "mean",
    variance: str = "estimated",
    temperature: float = 1.0,
    ema: float = 0.0,
    patience: int = 0,
    embedder: str = "conse",
    embedder_weights: str = "",
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
        weights: base, none, or a reference to pretrained weights.
        codebook_size: number of codebook vectors.
        iterations: number of candidate sets.
        images: images in each set.
        steps: optimiser steps per iteration.
        batch_size: images per step.
        accumulate: batches whose gradients make up one step.
        learning_rate: Adam's step size.
        vq_weight: lambda of Eq. 7.
        perceptual: efficientnet or lpips.
        perceptual_backbone: reference to the weights of LPIPS's backbone.
        perceptual_weight: weight of the perceptual distance.
        adversarial_weight: weight of the adversarial term.
        adversarial_start: share of the steps without the adversarial term.
        commitment: weight of the commitment term.
        restart_codes: move unused codebook vectors to the data.
        center: mean or own.
        variance: estimated, unit or none.
        temperature: factor on the standard deviation.
        ema: decay of the moving average of the weights; 0 for none.
        patience: iterations without a better set after which the loop stops; 0 for all.
        embedder: image embedder of the early stop.
        embedder_weights: reference to the embedder's weights.
        seed: draws weights, batches and samples.
    """
    from components.generator.config import Config
    from components.stage.run import stage
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
                accumulate=accumulate,
                learning_rate=learning_rate,
                vq_weight=vq_weight,
                perceptual=perceptual,
                perceptual_backbone=perceptual_backbone,
                perceptual_weight=perceptual_weight,
                adversarial_weight=adversarial_weight,
                adversarial_start=adversarial_start,
                commitment=commitment,
                restart_codes=restart_codes,
                center=center,
                variance=variance,
                temperature=temperature,
                ema=ema,
                patience=patience,
                embedder=embedder,
                embedder_weights=embedder_weights,
                seed=seed,
            )
        )
        result = fine_tune(reference.path, augmented.path, candidates.path, generator.path, config, run.progress)
        run.finish(candidates.path, result, metrics)
