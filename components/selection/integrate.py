"""Text-guided knowledge integrator: selects the best candidate set by the best prompt (paper section 4.2)."""

from pathlib import Path
from typing import Any

from components.artifacts import (
    PROMPTS,
    TREND,
    ImageSet,
    candidate_iterations,
    new_image_set,
    read_candidates,
    read_table,
    to_tensor,
    write_table,
)
from components.embedding import Embedder, load_embedder
from components.selection.config import Config


def select_images(prompts: str | Path, candidates: str | Path, selected: str | Path, config: Config) -> dict[str, Any]:
    """Write the best candidate set as an image set, with the trend of the cosine over iterations.

    Args:
        prompts: artifact whose first row is the best prompt P.
        candidates: artifact with the L sets.
        selected: artifact to write.
        config: settings.

    Returns:
        The best and the worst iteration with their cosines, and the digest of the set.
    """
    prompt = str(read_table(Path(prompts) / PROMPTS)["prompt"].iloc[0])
    trend = similarity_trend(candidates, prompt, load_embedder(config.embedder, config.embedder_weights))
    best = max(trend, key=lambda row: row["cosine"])
    worst = min(trend, key=lambda row: row["cosine"])
    with new_image_set(selected) as (writer, directory):
        for index, image in enumerate(read_candidates(candidates, best["iteration"])):
            writer.add(image, id=f"generated-{index:03d}", source=f"iteration-{best['iteration']:03d}/{index:03d}")
        write_table(directory / TREND, trend)
    return {
        "best_iteration": best["iteration"],
        "best_cosine": best["cosine"],
        "worst_iteration": worst["iteration"],
        "worst_cosine": worst["cosine"],
        "selected_digest": ImageSet(selected).digest,
    }


def similarity_trend(candidates: str | Path, prompt: str, embedder: Embedder) -> list[dict[str, Any]]:
    """cos(z_t, z_v^l) of every iteration l, with z_v^l the mean over the set's image vectors (Eq. 4 and 5)."""
    import torch

    text_vector = embedder.embed_texts([prompt])[0]
    rows = []
    for iteration in candidate_iterations(candidates):
        vectors = embedder.embed_images(to_tensor(read_candidates(candidates, iteration)))
        cosine = torch.cosine_similarity(vectors.mean(dim=0), text_vector, dim=0)
        rows.append({"iteration": iteration, "cosine": float(cosine)})
    return rows
