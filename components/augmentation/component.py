"""KFP component of the augmentation stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.augmentation.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(Config)
def augmentation(
    line: str,
    reference: Input[Dataset],
    synthetic: Input[Dataset],
    augmented: Output[Dataset],
    metrics: Output[Metrics],
    policy: str = "photometric",
    images: int = 16,
    strength: float = 1.0,
    orientation_free: bool = False,
    seed: int = 0,
) -> None:
    """Augment the given images (paper section 4.1).

    Args:
        line: name of the production line.
        reference: image set.
        synthetic: image set of synthetic defects, by which the policy `auto` is chosen.
        augmented: image set.
        metrics: counts.
    """
    from components.augmentation.augment import augment_images
    from components.augmentation.config import Config
    from components.stage.run import stage

    with stage("augmentation", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        result = augment_images(reference.path, augmented.path, config, synthetic.path)
        run.finish(augmented.path, result, metrics)
