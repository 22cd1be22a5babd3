"""KFP component of the detection stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.stage.images import image


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
    backbone_weights: str = "",
    vit: str = "dinov2-small",
    vit_weights: str = "",
    teacher_weights: str = "",
    imagenet_dir: str = "",
    cflow_steps: int = 400,
    distillation_steps: int = 300,
    efficientad_steps: int = 250,
    dinomaly_steps: int = 100,
    coreset_ratio: float = 0.1,
    coreset_limit: int = 2500,
    num_neighbors: int = 9,
    rotation_step: float = 45.0,
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
        trained: detector.
        metrics: number of images and seconds.
        detector: name in the table of detectors.
        training_set: none, rotations, augmented or generated.
        backbone: ImageNet backbone.
        backbone_weights: reference to a residual network's weights.
        vit: vision transformer of AnomalyDINO and Dinomaly.
        vit_weights: reference to its weights.
        teacher_weights: reference to the weights of EfficientAD's teacher.
        imagenet_dir: images on which EfficientAD's student must not follow its teacher.
        cflow_steps: optimiser steps of CFlow.
        distillation_steps: optimiser steps of Reverse Distillation.
        efficientad_steps: optimiser steps of EfficientAD.
        dinomaly_steps: optimiser steps of Dinomaly.
        coreset_ratio: share of the patches that PatchCore keeps.
        coreset_limit: most patches that PatchCore keeps.
        num_neighbors: neighbours that reweight PatchCore's score.
        rotation_step: degrees between the rotated copies.
        false_alarm_rate: share of good images that the threshold may call anomalous.
        threshold_folds: most detectors trained without some of the given images, for the threshold.
        seed: seeds the training.
    """
    from components.detection.train import train_detector
    from components.detectors.table import Config
    from components.stage.run import stage

    with stage(f"detection {detector}/{training_set}", line) as run:
        config = run.configure(
            Config(
                detector=detector,
                training_set=training_set,
                backbone=backbone,
                backbone_weights=backbone_weights,
                vit=vit,
                vit_weights=vit_weights,
                teacher_weights=teacher_weights,
                imagenet_dir=imagenet_dir,
                cflow_steps=cflow_steps,
                distillation_steps=distillation_steps,
                efficientad_steps=efficientad_steps,
                dinomaly_steps=dinomaly_steps,
                coreset_ratio=coreset_ratio,
                coreset_limit=coreset_limit,
                num_neighbors=num_neighbors,
                rotation_step=rotation_step,
                false_alarm_rate=false_alarm_rate,
                threshold_folds=threshold_folds,
                seed=seed,
            )
        )
        result = train_detector(reference.path, augmented.path, selected.path, trained.path, config)
        run.finish(trained.path, result, metrics)
