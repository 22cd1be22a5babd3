"""KFP component of the selection stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.selection.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(Config)
def selection(
    line: str,
    reference: Input[Dataset],
    synthetic: Input[Dataset],
    prompts: Input[Dataset],
    candidates: Input[Dataset],
    selected: Output[Dataset],
    metrics: Output[Metrics],
    object: str = "",
    embedder: str = "conse",
    embedder_weights: str = "",
    rule: str = "text",
    by: str = "text",
    iteration: int = 0,
    prompt: str = "best",
    images: int = 0,
) -> None:
    """Select the candidate set nearest to the best prompt (paper section 4.2, Eq. 4 and 5).

    Args:
        line: name of the production line.
        reference: image set.
        synthetic: image set of synthetic defects.
        prompts: ranked table.
        candidates: one set of images per iteration.
        selected: image set.
        metrics: best and worst iteration.
    """
    from components.selection.config import Config
    from components.selection.integrate import select_images
    from components.stage.run import stage

    with stage("selection", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        sets = (reference.path, synthetic.path)
        result = select_images(prompts.path, candidates.path, selected.path, config, run.progress, *sets)
        run.finish(selected.path, result, metrics)
