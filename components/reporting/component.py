"""KFP component of the reporting stage."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Metrics, Model, Output

from components.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
def report(
    line: str,
    settings: str,
    reference: Input[Dataset],
    prompts: Input[Dataset],
    augmented: Input[Dataset],
    candidates: Input[Dataset],
    selected: Input[Dataset],
    predictions: Input[Dataset],
    best: Input[Model],
    html: Output[HTML],
    metrics: Output[Metrics],
) -> None:
    """Write the self-contained HTML report of the run.

    Args:
        line: name of the production line.
        settings: every parameter of the run, as JSON.
        reference: image set.
        prompts: ranked table.
        augmented: image set.
        candidates: one set of images per iteration.
        selected: image set.
        predictions: scores, anomaly maps and metrics.
        best: the chosen detector.
        html: report.
        metrics: gain of the generated set.
    """
    from components.reporting.report import Sources, write_report
    from components.stage import stage

    with stage("reporting", line) as run:
        artifacts = (reference, prompts, augmented, candidates, selected, predictions, best)
        gains, sheets = write_report(Sources(*[artifact.path for artifact in artifacts]), html.path, line, settings)
        run.publish_report(settings, html.path, gains, sheets)
        run.finish(None, gains, metrics)
