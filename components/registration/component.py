"""KFP component of the registration stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.images import image


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
) -> None:
    """Register the best detector of the run.

    Args:
        line: name of the production line and of the registered model.
        reference: image set.
        detectors: trained detectors.
        predictions: artifact with the records.
        best: the chosen detector.
        metrics: its metric.
        metric: by which detectors are compared.
        min_gain: least gain for generated images to win.
    """
    from components.registration.config import Config
    from components.registration.register import register_best
    from components.stage import stage

    with stage("registration", line) as run:
        config = run.configure(Config(metric=metric, min_gain=min_gain))
        paths = [detector.path for detector in detectors]
        result = register_best(line, reference.path, paths, predictions.path, best.path, config, run.tracker)
        run.finish(best.path, result, metrics)
