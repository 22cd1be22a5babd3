"""KFP component of the VQGAN-CLIP stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.stage.images import image


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
    from components.stage.run import stage
    from components.vqgan_clip.config import TextGuidedConfig
    from components.vqgan_clip.generate import generate_from_text

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
