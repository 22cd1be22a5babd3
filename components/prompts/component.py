"""KFP component of the prompts stage."""

from kfp import dsl
from kfp.dsl import Dataset, Input, Metrics, Output

from components.stage.images import image


@dsl.component(base_image=image("generation"), install_kfp_package=False)
def find_prompts(
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
        object: name of the inspected part.
        reference: image set.
        prompts: ranked table.
        metrics: counts and cosines.
        embedder: conse, or open_clip:ARCHITECTURE.
        embedder_weights: reference to CLIP weights.
        templates: prompts with the fields object and word.
        words: words given by the user; WordNet is asked when empty.
        wordnet: release of WordNet, 3.0 or 3.1.
        depth: steps along hypernyms and hyponyms.
        outlier_rule: quantile, paper or none.
        outlier_quantile: quantile of the rule quantile.
        outlier_distance: distance of the rule paper.
    """
    from components.prompts.config import Config
    from components.prompts.generate import generate_prompts
    from components.stage.run import stage

    with stage("prompts", line) as run:
        config = run.configure(
            Config(
                object=object,
                embedder=embedder,
                embedder_weights=embedder_weights,
                templates=tuple(templates),
                words=tuple(words),
                wordnet=wordnet,
                depth=depth,
                outlier_rule=outlier_rule,
                outlier_quantile=outlier_quantile,
                outlier_distance=outlier_distance,
            )
        )
        run.finish(prompts.path, generate_prompts(reference.path, prompts.path, config), metrics)
