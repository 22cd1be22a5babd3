"""Text-guided knowledge integrator: selects the best candidate set by the best prompt (paper section 4.2)."""

from pathlib import Path
from typing import Any

from components.artifacts import (
    TREND,
    ImageSet,
    candidate_iterations,
    candidate_sources,
    new_image_set,
    prompt_text,
    read_candidates,
    to_tensor,
    write_table,
)
from components.errors import check
from components.networks.embedding import Embedder, load_embedder
from components.selection.config import Config
from components.stage.progress import OnStep, ignore_progress


def select_images(
    prompts: str | Path, candidates: str | Path, selected: str | Path, config: Config, on_step: OnStep = ignore_progress
) -> dict[str, Any]:
    """Write the best candidate set as an image set, with the trend of the cosine over iterations.

    The source of an image is the id of the given one that it was sampled around.

    Returns the iterations nearest to and farthest from the prompt with their cosines, the iteration that the rule took,
    the prompt, and the digest of the set. `InputError`: the rule's iteration does not exist, or a set is too small.
    """
    prompt = prompt_text(prompts, config.prompt, config.object)
    embedder = load_embedder(config.embedder, config.embedder_weights)
    trend = similarity_trend(candidates, prompt, embedder, config.images, on_step)
    best = max(trend, key=lambda row: row["cosine"])
    worst = min(trend, key=lambda row: row["cosine"])
    taken = chosen_iteration(trend, config)
    with new_image_set(selected) as (writer, directory):
        sources = candidate_sources(candidates, taken)
        for index, image in enumerate(_first(candidates, taken, config.images)):
            source = sources[index] if sources else f"iteration-{taken:03d}/{index:03d}"
            writer.add(image, id=f"generated-{index:03d}", source=source)
        write_table(directory / TREND, trend)
    return {
        "best_iteration": best["iteration"],
        "best_cosine": best["cosine"],
        "worst_iteration": worst["iteration"],
        "worst_cosine": worst["cosine"],
        "selected_iteration": taken,
        "selected_prompt": prompt,
        "selected_digest": ImageSet(selected).digest,
    }


def chosen_iteration(trend: list[dict[str, Any]], config: Config) -> int:
    """Iteration whose set the rule takes, by the rows of `similarity_trend`; of equal cosines, the first."""
    iterations = [int(row["iteration"]) for row in trend]
    if config.rule == "last":
        return max(iterations)
    if config.rule == "fixed":
        check(config.iteration in iterations, "selection.iteration", config.iteration, f"0 to {max(iterations)}")
        return config.iteration
    return int(max(trend, key=lambda row: row["cosine"])["iteration"])


def similarity_trend(
    candidates: str | Path, prompt: str, embedder: Embedder, images: int = 0, on_step: OnStep = ignore_progress
) -> list[dict[str, Any]]:
    """cos(z_t, z_v^l) of every iteration l, with z_v^l the mean over the set's image vectors (Eq. 4 and 5).

    z_t is the prompt's vector; `images` is M, the first images of each set that make up the mean, 0 for all.
    `InputError`: a set has fewer images.
    """
    import torch

    text_vector, iterations = embedder.embed_texts([prompt])[0], candidate_iterations(candidates)
    rows: list[dict[str, Any]] = []
    for iteration in iterations:
        vectors = embedder.embed_images(to_tensor(_first(candidates, iteration, images)))
        cosine = float(torch.cosine_similarity(vectors.mean(dim=0), text_vector, dim=0))
        rows.append({"iteration": iteration, "cosine": cosine})
        on_step(len(rows), len(iterations), {"cosine": cosine})
    return rows


def _first(candidates: str | Path, iteration: int, images: int) -> list[Any]:
    found = read_candidates(candidates, iteration)
    check(images <= len(found), "selection.images", images, f"at most {len(found)}, as vqgan.images")
    return found[: images or len(found)]
