"""KFP component of the vqgan_clip stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.settings import documented_by
from components.stage.images import image
from components.vqgan_clip.config import Config


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(Config)
def vqgan_clip(
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
        reference: image set.
        prompts: ranked table.
        selected: image set.
        metrics: cosine of the images to the prompt.
    """
    from components.stage.run import stage
    from components.vqgan_clip.config import Config
    from components.vqgan_clip.generate import generate_from_text

    with stage("vqgan_clip", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        result = generate_from_text(reference.path, prompts.path, selected.path, config, run.progress)
        run.finish(selected.path, result, metrics)
