"""KFP components of the vqgan stage."""

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
    from components.stage import stage
    from components.vqgan.pretrain import pretrain
    from components.vqgan.pretrain_config import PretrainConfig

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


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def generate_from_text(
    line: str,
    object: str,
    reference: Input[Dataset],
    prompts: Input[Dataset],
    selected: Output[Dataset],
    metrics: Output[Metrics],
    prompt: str = "best",
    architecture: str = "small",
    weights: str = "none",
    codebook_size: int = 512,
    images: int = 1,
    batch_size: int = 4,
    steps: int = 200,
    learning_rate: float = 0.1,
    cutouts: int = 8,
    cutout_size: float = 0.5,
    init: str = "noise",
    embedder: str = "conse",
    embedder_weights: str = "",
    seed: int = 0,
) -> None:
    """Paint images by a prompt alone, as VQGAN-CLIP does (paper Table 1).

    Args:
        line: name of the production line.
        object: name of the inspected part.
        reference: image set.
        prompts: ranked table.
        selected: image set.
        metrics: cosine of the images to the prompt.
        prompt: best, worst, word or naive.
        architecture: small, f16 or stored.
        weights: base, none, or a reference to pretrained weights.
        codebook_size: number of codebook vectors.
        images: number of images.
        batch_size: images that are optimised at a time.
        steps: steps on the latents of each image.
        learning_rate: step size in standard deviations of the codebook.
        cutouts: cutouts of each image in a step.
        cutout_size: least side of a cutout, as a share of the image's.
        init: noise or given.
        embedder: conse, or open_clip:ARCHITECTURE.
        embedder_weights: reference to CLIP weights.
        seed: draws weights, codes and cutouts.
    """
    from components.stage import stage
    from components.vqgan.text_guided import generate_from_text
    from components.vqgan.text_guided_config import TextGuidedConfig

    with stage("text_guided", line) as run:
        config = run.configure(
            TextGuidedConfig(
                object=object,
                prompt=prompt,
                architecture=architecture,
                weights=weights,
                codebook_size=codebook_size,
                images=images,
                batch_size=batch_size,
                steps=steps,
                learning_rate=learning_rate,
                cutouts=cutouts,
                cutout_size=cutout_size,
                init=init,
                embedder=embedder,
                embedder_weights=embedder_weights,
                seed=seed,
            )
        )
        result = generate_from_text(reference.path, prompts.path, selected.path, config, run.progress)
        run.finish(selected.path, result, metrics)
