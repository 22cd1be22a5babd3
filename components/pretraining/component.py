"""KFP component of the pretraining stage."""

from kfp import dsl
from kfp.dsl import Metrics, Model, Output

from components.pretraining.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(Config)
def pretraining(
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
    """
    from components.pretraining.config import Config
    from components.pretraining.pretrain import pretrain
    from components.stage.run import stage

    with stage("pretraining", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        run.finish(generator.path, pretrain(generator.path, config, run.progress, line), metrics)
