"""KFP component of the quality stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.quality.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(Config)
def quality(
    line: str,
    reference: Input[Dataset],
    images: Input[Dataset],
    quality: Output[Dataset],
    metrics: Output[Metrics],
    inception: str = "",
    lpips_backbone: str = "",
    fid: bool = False,
    kid: bool = False,
    embedder: str = "conse",
    embedder_weights: str = "",
    seed: int = 0,
) -> None:
    """Compare an image set with the given images (paper Table 2, Fig. 2).

    Args:
        line: name of the production line.
        reference: image set with the given images.
        images: image set that is measured.
        quality: figures, or the reasons why they were not computed, as JSON.
        metrics: the figures that were computed.
    """
    from components.quality.config import Config
    from components.quality.measure import measure_quality
    from components.stage.run import stage

    with stage("quality", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        run.finish(quality.path, measure_quality(reference.path, images.path, quality.path, config), metrics)
