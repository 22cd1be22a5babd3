"""KFP component of the selection stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def select(
    line: str,
    prompts: Input[Dataset],
    candidates: Input[Dataset],
    selected: Output[Dataset],
    metrics: Output[Metrics],
    embedder: str = "conse",
    embedder_weights: str = "",
) -> None:
    """Select the candidate set nearest to the best prompt (paper section 4.2, Eq. 4 and 5).

    Args:
        line: name of the production line.
        prompts: ranked table.
        candidates: one set of images per iteration.
        selected: image set.
        metrics: best and worst iteration.
        embedder: conse, or open_clip:ARCHITECTURE.
        embedder_weights: reference to CLIP weights.
    """
    from components.selection.config import Config
    from components.selection.integrate import select_images
    from components.stage import stage

    with stage("selection", line) as run:
        config = run.configure(Config(embedder=embedder, embedder_weights=embedder_weights))
        run.finish(selected.path, select_images(prompts.path, candidates.path, selected.path, config), metrics)
