"""KFP component of the pretraining stage."""

from kfp import dsl
from kfp.dsl import Metrics, Model, Output

from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def pretrain(
    line: str,
    generator: Output[Model],
    metrics: Output[Metrics],
    sources: list[str] = [],
    datasets: list[dict[str, str]] = [],
    publish: str = "",
    licence: str = "",
    architecture: str = "small",
    codebook_size: int = 512,
    steps: int = 20_000,
    warmup: int = 100,
    autoencoder_steps: int = 1000,
    unquantised: float = 0.5,
    decay: float = 0.25,
    learning_rate: float = 5e-4,
    batch_size: int = 8,
    sizes: list[int] = [64, 128, 256],
    image_side: int = 1024,
    colour_jitter: float = 0.2,
    held_out: float = 0.1,
    perceptual: str = "efficientnet",
    perceptual_backbone: str = "vgg16",
    perceptual_weight: float = 1.0,
    adversarial_weight: float = 0.8,
    adversarial_start: float = 1.0,
    commitment: float = 0.25,
    restart_every: int = 100,
    checkpoint_every: int = 200,
    seed: int = 0,
) -> None:
    """Train a base model on the good images of many lines.

    Args:
        line: name of the base model, and of its experiment.
        generator: weights in half precision, and a config with the figures.
        metrics: figures on held-out images.
        sources: folders of good images, local or s3://BUCKET/PREFIX.
        datasets: data sets of lines, each with uri, layout, test_fraction and seed.
        publish: s3://BUCKET/PREFIX of the weights manifest to publish to; empty for none.
        licence: SPDX expression of the published weights.
        architecture: small or f16.
        codebook_size: number of codebook vectors.
        steps: optimiser steps in all.
        warmup: steps in which the step size rises.
        autoencoder_steps: first steps, without quantisation.
        unquantised: chance that later crops are decoded without quantisation.
        decay: last share of the steps, in which the step size falls to zero.
        learning_rate: Adam's largest step size.
        batch_size: crops of the smallest size in each step.
        sizes: sides of the crops in pixels.
        image_side: longest side at which images are read.
        colour_jitter: largest relative change of colour.
        held_out: share of the images that give the figures.
        perceptual: efficientnet or lpips.
        perceptual_backbone: reference to the weights of LPIPS's backbone.
        perceptual_weight: weight of the perceptual distance.
        adversarial_weight: weight of the adversarial term.
        adversarial_start: share of the steps without the adversarial term.
        commitment: weight of the commitment term.
        restart_every: steps after which unused codebook vectors move.
        checkpoint_every: steps between checkpoints.
        seed: draws weights, held-out images and crops.
    """
    from components.pretraining.config import PretrainConfig
    from components.pretraining.pretrain import pretrain
    from components.stage.run import stage

    with stage("pretraining", line) as run:
        config = run.configure(
            PretrainConfig(
                sources=tuple(sources),
                datasets=tuple(datasets),
                publish=publish,
                licence=licence,
                architecture=architecture,
                codebook_size=codebook_size,
                steps=steps,
                warmup=warmup,
                autoencoder_steps=autoencoder_steps,
                unquantised=unquantised,
                decay=decay,
                learning_rate=learning_rate,
                batch_size=batch_size,
                sizes=tuple(int(size) for size in sizes),  # KFP hands on whole numbers in lists as floats
                image_side=image_side,
                colour_jitter=colour_jitter,
                held_out=held_out,
                perceptual=perceptual,
                perceptual_backbone=perceptual_backbone,
                perceptual_weight=perceptual_weight,
                adversarial_weight=adversarial_weight,
                adversarial_start=adversarial_start,
                commitment=commitment,
                restart_every=restart_every,
                checkpoint_every=checkpoint_every,
                seed=seed,
            )
        )
        run.finish(generator.path, pretrain(generator.path, config, run.progress, line), metrics)
