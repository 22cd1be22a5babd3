"""Keyword-to-prompt generator: candidates, outliers and the best prompt (paper section 4.1.1, Eq. 1)."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from components import artifacts
from components.artifacts import ImageSet, new_directory, reference_prompts, write_table
from components.errors import InputError
from components.networks.embedding import Embedder, load_embedder
from components.prompts.config import Config
from components.wordnet.words import RelatedWord, noun_senses, related_words, wordnet_version


def generate_prompts(reference: str | Path, prompts: str | Path, config: Config) -> dict[str, Any]:
    """Write the tables of the ranked candidate prompts, of the senses, and of the prompts that the paper compares.

    Only the good training images of `reference` are read. Returns the best and the worst prompt, the number of
    candidates, and how many of them the rule removed. `InputError` where there is no synset, related word or candidate.
    """
    embedder = load_embedder(config.embedder, config.embedder_weights)
    images = ImageSet(reference)
    image_vector = mean_image_vector(embedder, images.batches(images.ids("train", "good")))
    senses = _rank_senses(config, embedder, image_vector)
    if config.words:
        words = [RelatedWord(word=word, relation="given", synset="", gloss="") for word in config.words]
    else:
        words = related_words(senses[0][0], config.object, config.depth)
    if not words:
        raise InputError(f"object: WordNet relates no word to {senses[0][1]['synset']}; give prompts.words")
    table = rank_prompts(config, embedder, image_vector, words)
    with new_directory(prompts) as directory:
        write_table(directory / artifacts.PROMPTS, table)
        write_table(directory / artifacts.SENSES, [row for _, row in senses])
        compared = reference_table(table, config.object, embedder, image_vector)
        write_table(directory / artifacts.REFERENCE_PROMPTS, compared)
    best, worst = table.iloc[0], table.iloc[int(table["cosine"].argmin())]
    return {
        "candidates": len(table),
        "removed": int((~table["kept"]).sum()),
        "best_cosine": float(best["cosine"]),
        "worst_cosine": float(worst["cosine"]),
        "best_prompt": str(best["prompt"]),
        "worst_prompt": str(worst["prompt"]),
        "embedder": embedder.name,
        "embedder_digest": embedder.digest,
        "wordnet": "not used" if config.words else wordnet_version(config.wordnet),
    }


def mean_image_vector(embedder: Embedder, batches: Iterable[Tensor]) -> Tensor:
    """f(I^o): the unit vector [dim] of the mean over batches of images [n, 3, height, width] in [0, 1]."""
    vectors = torch.cat([embedder.embed_images(images) for images in batches])
    return functional.normalize(vectors.mean(dim=0), dim=0)


def rank_prompts(
    config: Config, embedder: Embedder, image_vector: Tensor, words: Sequence[RelatedWord]
) -> pd.DataFrame:
    """Candidate prompts with distances to the image and the word, best first; dropped ones follow the kept ones.

    The embedder is G of the paper, `image_vector` is f(I^o), a unit vector [dim], and `words` are W_1 ... W_T. Raises
    `InputError` where the rule drops every candidate.
    """
    pairs = [(template, word) for template in config.templates for word in words]
    prompts = [template.format(object=config.object, word=word.word) for template, word in pairs]
    table = pd.DataFrame([asdict(word) for _, word in pairs])
    table.insert(0, "prompt", prompts)
    table = table.assign(**_distances(prompts, config.object, embedder, image_vector))
    table["kept"] = kept_by_rule(table["l2"], config)
    if not table["kept"].any():
        raise InputError(f"prompts.outlier_rule: {config.outlier_rule!r} dropped all {len(table)} candidates")
    table = table.sort_values(["kept", "cosine", "prompt"], ascending=[False, False, True], ignore_index=True)
    table["rank"] = range(1, len(table) + 1)
    return table


def reference_table(ranking: pd.DataFrame, object: str, embedder: Embedder, image_vector: Tensor) -> pd.DataFrame:
    """The prompts that the paper compares (Table 2, Fig. 8), of `rank_prompts`, with the same distances."""
    prompts = reference_prompts(ranking, object)
    table = pd.DataFrame({"kind": list(prompts), "prompt": list(prompts.values())})
    return table.assign(**_distances(list(prompts.values()), object, embedder, image_vector))


def _distances(prompts: Sequence[str], object: str, embedder: Embedder, image_vector: Tensor) -> dict[str, Any]:
    """L2 distance and cosine of texts to the image vector, and cosine to the object's name (paper Fig. 8)."""
    vectors, word = embedder.embed_texts(prompts), embedder.embed_texts([object])[0]
    return {
        "l2": (vectors - image_vector).norm(dim=1).double().numpy(),
        "cosine": (vectors @ image_vector).double().numpy(),
        "text_cosine": (vectors @ word).double().numpy(),
    }


def kept_by_rule(distances: "pd.Series[float]", config: Config) -> "pd.Series[bool]":
    """Which candidates the outlier rule keeps, by their L2 distances to the image.

    `paper` is S^p = {S_j : d(S_j, I^o) > 0.5} as printed in section 4.1.1. Unit vectors of unlike things are
    farther apart than that, so it removes nothing. `quantile` removes the farthest candidates. For unit vectors
    d^2 = 2 - 2 cos, so these are the ones with the lowest cosine: the rule marks outliers in the ranking, and never
    changes the best prompt, which has the highest. Only `paper` could, for a text nearer than its distance.
    """
    if config.outlier_rule == "paper":
        return distances > config.outlier_distance
    if config.outlier_rule == "quantile":
        return distances <= distances.quantile(config.outlier_quantile)
    return distances.notna()


def _rank_senses(config: Config, embedder: Embedder, image_vector: Tensor) -> list[tuple[Any, dict[str, Any]]]:
    """Synsets of the object with their gloss's cosine to the image, best first; none for given words."""
    if config.words:
        return []
    senses = noun_senses(config.object, config.wordnet)
    cosines = embedder.embed_texts([sense.definition() for sense in senses]) @ image_vector
    rows = [
        {"synset": sense.name(), "gloss": sense.definition(), "cosine": float(cosine)}
        for sense, cosine in zip(senses, cosines, strict=True)
    ]
    return sorted(zip(senses, rows, strict=True), key=lambda pair: -pair[1]["cosine"])
