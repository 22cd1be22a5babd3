"""KFP component of the registration stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
def register(
    line: str,
    reference: Input[Dataset],
    detectors: Input[list[Model]],
    predictions: Input[Dataset],
    best: Output[Model],
    metrics: Output[Metrics],
    metric: str = "image_auroc",
    min_gain: float = 0.0,
    min_metric: float = 0.0,
    min_champion_gain: float = 0.0,
    max_defect_drop: float = 0.1,
    max_latency_ms: float = 0.0,
    max_model_mb: float = 0.0,
    export: str = "none",
    parity_tolerance: float = 0.001,
    parity_changes: int = 0,
) -> None:
    """Register the best detector of the run, and promote it where it beats the champion.

    Args:
        line: name of the production line and of the registered model.
        reference: image set.
        detectors: trained detectors.
        predictions: artifact with the records.
        best: the chosen detector, with the decision on its promotion.
        metrics: its metric.
        metric: by which detectors are compared.
        min_gain: least gain for generated images to win within the run.
        min_metric: least metric of a champion.
        min_champion_gain: least gain over the champion.
        max_defect_drop: most that a defect type may fall behind the champion.
        max_latency_ms: most milliseconds to score an image; 0 for no limit.
        max_model_mb: most megabytes of the weights; 0 for no limit.
        export: none, onnx or openvino.
        parity_tolerance: largest difference of the export, as a share of the threshold.
        parity_changes: most test images that the export may decide in another way.
    """
    from components.registration.config import Config
    from components.registration.register import register_best
    from components.stage.run import stage

    with stage("registration", line, direct=True) as run:
        config = run.configure(
            Config(
                metric=metric,
                min_gain=min_gain,
                min_metric=min_metric,
                min_champion_gain=min_champion_gain,
                max_defect_drop=max_defect_drop,
                max_latency_ms=max_latency_ms,
                max_model_mb=max_model_mb,
                export=export,
                parity_tolerance=parity_tolerance,
                parity_changes=parity_changes,
            )
        )
        paths = [detector.path for detector in detectors]
        result = register_best(line, reference.path, paths, predictions.path, best.path, config, run.tracker)
        run.finish(best.path, result, metrics)
