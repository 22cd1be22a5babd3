"""KFP component of the reporting stage."""

from kfp import dsl
from kfp.dsl import HTML, Dataset, Input, Markdown, Metrics, Model, Output

from components.stage.images import image


@dsl.component(base_image=image("detection"), install_kfp_package=False)
def reporting(
    line: str,
    settings: str,
    reference: Input[Dataset],
    prompts: Input[Dataset],
    augmented: Input[Dataset],
    candidates: Input[Dataset],
    selected: Input[Dataset],
    synthetic: Input[Dataset],
    predictions: Input[Dataset],
    best: Input[Model],
    html: Output[HTML],
    summary: Output[Markdown],
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
        synthetic: image set of synthetic defects.
        predictions: scores, anomaly maps and metrics.
        best: the chosen detector.
        html: report.
        summary: comparison and decision in short.
        metrics: gain of the generated set, and how much the images of each set vary.
    """
    from components.reporting.report import write_report
    from components.reporting.sources import Sources
    from components.reporting.summary import write_summary
    from components.stage.run import stage

    with stage("reporting", line) as run:
        artifacts = (reference, prompts, augmented, candidates, selected, synthetic, predictions, best)
        sources = Sources(*[artifact.path for artifact in artifacts])
        write_summary(sources, summary.path, line)
        html.metadata["run_id"] = run.tracker.task.run_id
        run.finish(None, write_report(sources, html.path, line, settings), metrics)


@dsl.component(base_image=image("detection"), install_kfp_package=False)
def conclusion(
    line: str,
    settings: str,
    dataset_uri: str,
    dataset_digest: str,
    reference: Input[Dataset],
    prompts: Input[Dataset],
    augmented: Input[Dataset],
    candidates: Input[Dataset],
    selected: Input[Dataset],
    synthetic: Input[Dataset],
    predictions: Input[Dataset],
    best: Input[Model],
    detectors: Input[list[Model]],
    html: Input[HTML],
) -> None:
    """Complete and end the run in MLflow, never cached: what came from the cache or could not be sent before is added.

    Args:
        line: name of the production line.
        settings: every parameter of the run, as JSON.
        dataset_uri: data set.
        dataset_digest: its digest.
        reference: image set.
        prompts: ranked table.
        augmented: image set.
        candidates: one set of images per iteration.
        selected: image set.
        synthetic: image set of synthetic defects.
        predictions: scores, anomaly maps and metrics.
        best: the chosen detector.
        detectors: all trained detectors.
        html: report.
    """
    from components.registry.nomination import is_registered
    from components.reporting.conclude import conclude_run
    from components.reporting.sources import Sources
    from components.stage.run import stage

    with stage("conclusion", line, direct=not is_registered(best.path)) as run:
        run.describe_run(settings, dataset_uri, dataset_digest)
        artifacts = (reference, prompts, augmented, candidates, selected, synthetic, predictions, best)
        paths = [detector.path for detector in detectors]
        reported_in = html.metadata.get("run_id", "")
        conclude_run(Sources(*[artifact.path for artifact in artifacts]), paths, html.path, reported_in, run.tracker)
