"""KFP component of the registration stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Model, Output

from components.registration.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
@documented_by(Config)
def registration(
    line: str,
    reference: Input[Dataset],
    detectors: Input[list[Model]],
    predictions: Input[Dataset],
    best: Output[Model],
    metrics: Output[Metrics],
    metric: str = "image_auroc",
    min_metric: float = 0.0,
    min_champion_gain: float = 0.0,
    max_defect_drop: float = 0.1,
    max_latency_ms: float = 0.0,
    max_model_mb: float = 0.0,
    allow_unregistered: bool = False,
    min_proxy_image_auroc: float = 0.0,
    max_validation_false_alarm_rate: float = 1.0,
    choose_by: str = "auto",
    min_gain: float = 0.0,
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
    """
    from components.registration.config import Config
    from components.registration.register import register_best
    from components.stage.run import stage

    with stage("registration", line, direct=True) as run:
        config = run.configure(Config.from_arguments(locals()))
        paths = [detector.path for detector in detectors]
        result = register_best(line, reference.path, paths, predictions.path, best.path, config, run.tracker)
        run.finish(best.path, result, metrics)
