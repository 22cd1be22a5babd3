"""Text-guided knowledge integrator: selects the best candidate set by the best prompt (paper section 4.2)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import (
    TREND,
    CandidateImages,
    ImageSet,
    ImageSetWriter,
    candidate_iterations,
    candidate_sources,
    new_image_set,
    prompt_text,
    read_candidates,
    to_tensor,
    write_table,
)
from components.errors import InputError, check
from components.networks.embedding import Embedder, load_embedder
from components.selection.config import BOTH, TEXT, Config
from components.stage.progress import OnStep, ignore_progress

if TYPE_CHECKING:
    from components.selection.normality import SetNormality

_LOG = logging.getLogger(__name__)
_BATCH = 32

UNAVAILABLE = "no good image with synthetic defects is held out: that takes two given images, or dataset.calibration"
NOTHING_ADDED = "no set brings held-out good images nearer by more than synthetic defects"


@dataclass(frozen=True, kw_only=True)
class Pick:
    """What is taken of the candidates."""

    iteration: int
    images: tuple[int, ...] | None = None
    """Positions in the set; None for all that are compared."""
    by: str = TEXT
    """What it was taken by, in words."""


def select_images(
    prompts: str | Path,
    candidates: str | Path,
    selected: str | Path,
    config: Config,
    on_step: OnStep = ignore_progress,
    reference: str | Path | None = None,
    synthetic: str | Path | None = None,
) -> dict[str, Any]:
    """Write the best candidate set as an image set, with the trend of the cosine over iterations.

    The source of an image is the id of the given one that it was sampled around. Where normality counts, good images of
    `reference` and the `synthetic` defects are read, and the trend has each set's coverage, harm and kept images.

    Returns the iterations nearest to and farthest from the prompt with their cosines, the iteration that was taken and
    by what, the number of its images, the prompt, and the digest of the set.

    Raises:
        InputError: the rule's iteration does not exist, a set is too small, or the image sets that normality takes are
            not given.
    """
    prompt = prompt_text(prompts, config.prompt, config.object)
    embedder = load_embedder(config.embedder, config.embedder_weights)
    trend = similarity_trend(candidates, prompt, embedder, config.images, on_step)
    best = max(trend, key=lambda row: row["cosine"])
    worst = min(trend, key=lambda row: row["cosine"])
    pick, rated = _picked(candidates, trend, config, reference, synthetic)
    with new_image_set(selected) as (writer, directory):
        count = _write_pick(writer, candidates, pick, config)
        write_table(directory / TREND, rated)
    return {
        "best_iteration": best["iteration"],
        "best_cosine": best["cosine"],
        "worst_iteration": worst["iteration"],
        "worst_cosine": worst["cosine"],
        "selected_iteration": pick.iteration,
        "selected_by": pick.by,
        "selected_images": count,
        "selected_prompt": prompt,
        "selected_digest": ImageSet(selected).digest,
    }


def _write_pick(writer: ImageSetWriter, candidates: str | Path, pick: Pick, config: Config) -> int:
    """Add what was picked to an image set, and return the number of images."""
    sources = candidate_sources(candidates, pick.iteration)
    images = read_candidates(candidates, pick.iteration)
    places = range(_count(images, config.images)) if pick.images is None else pick.images
    for number, index in enumerate(places):
        source = sources[index] if sources else f"iteration-{pick.iteration:03d}/{index:03d}"
        writer.add(images[index], id=f"generated-{number:03d}", source=source)
    return len(places)


def _picked(
    candidates: str | Path,
    trend: list[dict[str, Any]],
    config: Config,
    reference: str | Path | None,
    synthetic: str | Path | None,
) -> tuple[Pick, list[dict[str, Any]]]:
    """What is taken, and the trend, with what normality found where it counts."""
    by_rule = chosen_iteration(trend, config)
    if config.by == TEXT:
        return Pick(iteration=by_rule, by=config.rule), trend
    if reference is None or synthetic is None:
        raise InputError(f"selection.by: got {config.by!r}, expected with it the reference set and synthetic defects")
    from components.selection.normality import Normality

    normality = Normality(reference, synthetic)
    if not normality.available:
        return Pick(iteration=by_rule, by=_without(UNAVAILABLE)), trend
    sets = {int(row["iteration"]): normality.rate(candidates, row["iteration"], config.images) for row in trend}
    rated = [row | _columns(sets[row["iteration"]]) for row in trend]
    return best_by_normality(rated, sets, config.by) or Pick(iteration=by_rule, by=_without(NOTHING_ADDED)), rated


def best_by_normality(trend: list[dict[str, Any]], sets: "Mapping[int, SetNormality]", by: str) -> Pick | None:
    """The set that adds most, or with `both` that nearest to the prompt of those that add anything; None without any.

    A set adds anything where its kept images together have more coverage than harm.
    """
    adding = [row for row in trend if row["kept"] and row["coverage"] > row["harm"]]
    if not adding:
        return None
    best = max(adding, key=lambda row: row["cosine"] if by == BOTH else row["coverage"] - row["harm"])
    iteration = int(best["iteration"])
    return Pick(iteration=iteration, images=sets[iteration].kept, by=by)


def _columns(found: "SetNormality") -> dict[str, Any]:
    return {"coverage": found.coverage, "harm": found.harm, "kept": len(found.kept)}


def _without(reason: str) -> str:
    _LOG.warning("selection.by: by the text alone, since %s", reason)
    return f"{TEXT}, since {reason}"


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
        found = read_candidates(candidates, iteration)
        count = _count(found, images)
        slices = (slice(start, min(start + _BATCH, count)) for start in range(0, count, _BATCH))
        vectors = torch.cat([embedder.embed_images(to_tensor(found[few])) for few in slices])
        cosine = float(torch.cosine_similarity(vectors.mean(dim=0), text_vector, dim=0))
        rows.append({"iteration": iteration, "cosine": cosine})
        on_step(len(rows), len(iterations), {"cosine": cosine})
    return rows


def _count(found: CandidateImages, images: int) -> int:
    """How many of a set's images count: the first ones, or all where their number is 0."""
    check(images <= len(found), "selection.images", images, f"at most {len(found)}, as vqgan.images")
    return images or len(found)
