"""KFP component of the drift stage."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.drift.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
@documented_by(Config)
def measure_drift(
    line: str,
    reference: Input[Dataset],
    images: Input[Dataset],
    detector: Input[Model],
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
    """Compare new good images of a line with those of its reference, and say whether to train again.

    Args:
        line: name of the production line.
        reference: image set that the detector was trained and evaluated on.
        images: image set, whose good training images are the new ones.
        detector: trained detector.
        drift: what was measured, as JSON.
        html: page.
        metrics: distances, p-values and statistics.
    """
    from components.drift.config import Config
    from components.drift.measure import measure, write_drift
    from components.stage.run import stage

    with stage("drift", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        measured = measure(reference.path, images.path, detector.path, line, config)
        write_drift(measured, drift.path, html.path)
        run.finish(drift.path, measured.summary(), metrics)
