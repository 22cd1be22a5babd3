"""KFP component of the detection stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
def train(
    line: str,
    reference: Input[Dataset],
    augmented: Input[Dataset],
    selected: Input[Dataset],
    trained: Output[Model],
    metrics: Output[Metrics],
    detector: str = "patchcore",
    training_set: str = "none",
    backbone: str = "efficientnet-lite0",
    coreset_ratio: float = 0.1,
    coreset_limit: int = 2500,
    num_neighbors: int = 9,
    rotation_step: float = 45.0,
    seed: int = 0,
) -> None:
    """Train one detector on one training set.

    Args:
        line: name of the production line.
        reference: image set.
        augmented: image set.
        selected: image set.
        trained: detector.
        metrics: number of images and seconds.
        detector: name in the table of detectors.
        training_set: none, rotations, augmented or generated.
        backbone: ImageNet backbone.
        coreset_ratio: share of the patches that PatchCore keeps.
        coreset_limit: most patches that PatchCore keeps.
        num_neighbors: neighbours that reweight PatchCore's score.
        rotation_step: degrees between the rotated copies.
        seed: seeds the training.
    """
    from components.detection.train import train_detector
    from components.detectors import Config
    from components.stage import stage

    with stage(f"detection {detector}/{training_set}", line) as run:
        config = run.configure(
            Config(
                detector=detector,
                training_set=training_set,
                backbone=backbone,
                coreset_ratio=coreset_ratio,
                coreset_limit=coreset_limit,
                num_neighbors=num_neighbors,
                rotation_step=rotation_step,
                seed=seed,
            )
        )
        result = train_detector(reference.path, augmented.path, selected.path, trained.path, config)
        run.finish(trained.path, result, metrics)
