"""KFP component of the vqgan stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.settings import documented_by
from components.stage.images import image
from components.vqgan.config import Config


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(Config)
def vqgan(
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
    learning_rate: float = 0.0,
    mse_weight: float = 1.0,
    mse_mean: str = "values",
    vq_weight: float = 1.0,
    perceptual: str = "efficientnet",
    perceptual_backbone: str = "vgg16",
    perceptual_weight: float = 1.0,
    adversarial_weight: float = 0.1,
    adversarial_start: float = 1.0,
    commitment: float = 0.25,
    restart_codes: bool = True,
    center: str = "mean",
    variance: str = "estimated",
    covariance: str = "independent",
    variation: str = "augmentations",
    decode: str = "plain",
    temperature: float = 1.0,
    precision: str = "float32",
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
    """
    from components.stage.run import stage
    from components.vqgan.config import Config
    from components.vqgan.fine_tune import fine_tune

    with stage("vqgan", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        result = fine_tune(reference.path, augmented.path, candidates.path, generator.path, config, run.progress)
        run.finish(candidates.path, result, metrics)
