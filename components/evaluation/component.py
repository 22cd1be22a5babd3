"""KFP component of the evaluation stage."""

from kfp import dsl
from kfp.dsl import ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components.evaluation.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
@documented_by(Config)
def evaluation(
    line: str,
    reference: Input[Dataset],
    detectors: Input[list[Model]],
    predictions: Output[Dataset],
    metrics: Output[Metrics],
    classification: Output[ClassificationMetrics],
    aupro_limit: float = 0.3,
    latency_images: int = 20,
    spro_limit: float = 0.0,
) -> None:
    """Score the test split with every detector and measure the results.

    Args:
        line: name of the production line.
        reference: image set.
        detectors: trained detectors.
        predictions: scores, anomaly maps and metrics.
        metrics: image and pixel metrics of every detector.
        classification: ROC curve and confusion of the best one.
    """
    from components.evaluation.classification import show_classification
    from components.evaluation.config import Config
    from components.evaluation.evaluate import evaluate_detectors
    from components.metrics.records import flat_metrics
    from components.stage.run import stage

    with stage("evaluation", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        records = evaluate_detectors(reference.path, [item.path for item in detectors], predictions.path, config)
        show_classification(reference.path, predictions.path, classification)
        run.finish(predictions.path, flat_metrics(records), metrics)
