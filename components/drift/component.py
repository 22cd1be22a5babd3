"""KFP component of the drift stage."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Metrics, Output

from components.drift.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
@documented_by(Config)
def drift(
    line: str,
    images: str,
    detector: str,
    drift: Output[Dataset],
    html: Output[HTML],
    metrics: Output[Metrics],
    alpha: float = 0.05,
    min_shift: float = 0.25,
    min_superiority: float = 0.6,
    max_false_alarm_rate: float = 0.05,
    permutations: int = 1999,
    seed: int = 0,
    backbone: str = "efficientnet-lite0",
    max_images: int = 300,
) -> None:
    """Compare new good images of a line with those of its detector's training, and report whether to train again.

    Args:
        line: name of the production line.
        images: folder or s3://BUCKET/PREFIX of the new good images.
        detector: champion of the line in MLflow, or the folder or s3://BUCKET/PREFIX of a detector artifact.
        drift: what was measured, as JSON.
        html: page.
        metrics: distances, p-values and statistics.
    """
    from components.drift.config import Config
    from components.drift.measure import measure_since_training, write_drift
    from components.stage.run import stage

    with stage("drift", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        run.tracker.log_params({"images": images, "detector": detector})
        measured = measure_since_training(line, images, detector, config)
        write_drift(measured, drift.path, html.path)
        run.tracker.log_file(measured.html.encode(), "drift.html")
        run.finish(drift.path, measured.summary(), metrics)
