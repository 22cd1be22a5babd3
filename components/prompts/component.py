"""KFP component of the prompts stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.prompts.config import Config
from components.settings import documented_by
from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
@documented_by(Config)
def prompts(
    line: str,
    object: str,
    reference: Input[Dataset],
    prompts: Output[Dataset],
    metrics: Output[Metrics],
    embedder: str = "conse",
    embedder_weights: str = "",
    templates: list[str] = ["a {object} with {word}"],
    words: list[str] = [],
    wordnet: str = "3.0",
    depth: int = 2,
    outlier_rule: str = "quantile",
    outlier_quantile: float = 0.9,
    outlier_distance: float = 0.5,
) -> None:
    """Rank the candidate prompts of an object by WordNet and a joint embedding (paper section 4.1.1).

    Args:
        line: name of the production line.
        reference: image set.
        prompts: ranked table.
        metrics: counts and cosines.
    """
    from components.prompts.config import Config
    from components.prompts.generate import generate_prompts
    from components.stage.run import stage

    with stage("prompts", line) as run:
        config = run.configure(Config.from_arguments(locals()))
        run.finish(prompts.path, generate_prompts(reference.path, prompts.path, config), metrics)
