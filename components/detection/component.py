"""KFP component of the detection stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.detectors.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
@documented_by(Config)
def detection(
    line: str,
    reference: Input[Dataset],
    augmented: Input[Dataset],
    selected: Input[Dataset],
    synthetic: Input[Dataset],
    trained: Output[Model],
    metrics: Output[Metrics],
    detector: str = "patchcore",
    training_set: str = "none",
    backbone: str = "efficientnet-lite0",
    backbone_weights: str = "",
    vit: str = "dinov2-small",
    vit_weights: str = "",
    teacher_weights: str = "",
    imagenet_dir: str = "",
    cflow_steps: int = 400,
    distillation_steps: int = 300,
    efficientad_steps: int = 250,
    dinomaly_steps: int = 100,
    steps_images: int = 5,
    foreground_masks: bool = False,
    subspace_variance: float = 0.99,
    coreset_ratio: float = 1.0,
    coreset_limit: int = 2500,
    num_neighbors: int = 9,
    image_score: str = "top1",
    rotation_step: float = 45.0,
    threshold: str = "good-images",
    false_alarm_rate: float = 0.01,
    threshold_folds: int = 5,
    seed: int = 0,
) -> None:
    """Train one detector on one training set.

    Args:
        line: name of the production line.
        reference: image set.
        augmented: image set.
        selected: image set.
        synthetic: image set of synthetic defects on the good images.
        trained: detector.
        metrics: number of images and seconds.
    """
    from components.detection.train import train_detector
    from components.detectors.config import Config
    from components.stage.run import stage

    with stage(f"detection {detector}/{training_set}", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        added = (augmented.path, selected.path)
        result = train_detector(reference.path, *added, trained.path, config, synthetic.path)
        run.finish(trained.path, result, metrics)
