"""Quality of an image set beside the given images (paper Table 2, Fig. 2)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from components.artifacts import QUALITY, ImageSet, new_directory, write_json
from components.compute import device, seed_everything
from components.errors import InputError
from components.networks.embedding import Embedder
from components.networks.perceptual import Lpips, Perceptual
from components.quality.config import Config
from components.quality.inception import FidInception
from components.quality.networks import Missing, Networks, load_networks
from components.quality.scores import (
    FeatureNetwork,
    PairScore,
    fid,
    inception_score,
    kid,
    mean_over_pairs,
    pixel_std,
    psnr,
    ssim,
)

_PIXELS = "none: pixels"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A row of the table: a number, or why there is none."""

    value: float | None
    """Null where it was not computed."""
    reason: str | None
    """Why it was not; null where it was."""
    higher_is_better: bool | None
    """Null where neither is."""
    network: str
    """Name of the network that looked at the images."""


@dataclass(frozen=True, kw_only=True)
class ImagePairs:
    """A set and the given images, with who is compared with whom."""

    images: Tensor
    """[n, 3, height, width] in [0, 1]."""
    given: Tensor
    """[m, 3, height, width] in [0, 1]."""
    partners: Sequence[Sequence[int]]
    """For each image, positions of the given images that it is compared with."""

    def mean(self, score: PairScore) -> float:
        """Mean over images of the mean score against each one's partners."""
        return mean_over_pairs(score, self.images, self.given, self.partners)


def measure_quality(
    reference: str | Path, images: str | Path, quality: str | Path, config: Config, networks: Networks | None = None
) -> dict[str, Any]:
    """Write the table of an image set's quality.

    Args:
        reference: image set with the given images, which are its good training images.
        images: image set whose good training images are measured.
        quality: artifact to write: `{metric: {value, reason, higher_is_better, network}}` as JSON.
        config: settings.
        networks: loaded by the config where they are not given.

    Returns:
        The figures that were computed, and the names of those that were not.

    Raises:
        InputError: a set is empty, images differ in size, or weights are of another network.
    """
    seed_everything(config.seed)
    figures = image_quality(read_pairs(reference, images), networks or load_networks(config), config)
    with new_directory(quality) as directory:
        write_json(directory / QUALITY, {name: asdict(figure) for name, figure in figures.items()})
    missing = [name for name, figure in figures.items() if figure.value is None]
    computed = {name: figure.value for name, figure in figures.items() if figure.value is not None}
    return {**computed, "not_computed": ", ".join(missing)}


def read_pairs(reference: str | Path, images: str | Path) -> ImagePairs:
    """Good training images of both sets: an image is paired with the given one that its manifest names as its source.

    One whose source is no given image, as a generated one, is paired with every given image.

    Raises:
        InputError: a set is empty, or images differ in size.
    """
    given, measured = ImageSet(reference), ImageSet(images)
    given_ids, ids = given.ids("train", "good"), measured.ids("train", "good")
    for name, found in (("reference", given_ids), ("images", ids)):
        if not found:
            raise InputError(f"{name}: no good training image in it")
    _check_sizes(given, given_ids, measured, ids)
    sources = measured.manifest.set_index("id")["source"]
    partners = [[given_ids.index(sources[id])] if sources[id] in given_ids else range(len(given_ids)) for id in ids]
    return ImagePairs(images=measured.tensor(ids), given=given.tensor(given_ids), partners=partners)


def image_quality(pairs: ImagePairs, networks: Networks, config: Config) -> dict[str, Figure]:
    """Every figure, computed or not: Table 2's, FID and KID, and similarity and variance of Fig. 2."""
    return {
        **_inception_figures(pairs, networks.inception, config),
        **_pair_figures(pairs, networks),
        "embedding_similarity": _computed(embedding_similarity(pairs, networks.embedder), True, networks.embedder.name),
        "pixel_std": _of_several(lambda: pixel_std(pairs.images), {"images": len(pairs.images)}, None, _PIXELS),
    }


def embedding_similarity(pairs: ImagePairs, embedder: Embedder) -> float:
    """Mean cosine of the embeddings of images and their given images."""
    vectors, given = embedder.embed_images(pairs.images), embedder.embed_images(pairs.given)
    return mean_over_pairs(lambda one, other: (one * other).sum(dim=1), vectors, given, pairs.partners)


def _pair_figures(pairs: ImagePairs, networks: Networks) -> dict[str, Figure]:
    return {
        "ssim": _computed(pairs.mean(ssim), True, _PIXELS),
        "psnr": _computed(pairs.mean(psnr), True, _PIXELS),
        "lpips": _perceptual(pairs, networks.lpips),
        "efficientnet_distance": _perceptual(pairs, networks.stand_in),
    }


def _perceptual(pairs: ImagePairs, network: Perceptual | Missing) -> Figure:
    if isinstance(network, Missing):
        return _absent(network.reason, False, Lpips.name)

    @torch.no_grad()
    def distance(images: Tensor, targets: Tensor) -> Tensor:
        distances: Tensor = network(images.to(device()) * 2 - 1, targets.to(device()) * 2 - 1)
        return distances

    return _computed(pairs.mean(distance), False, network.name)


def _inception_figures(pairs: ImagePairs, network: FeatureNetwork | Missing, config: Config) -> dict[str, Figure]:
    directions = {"inception_score": True, "fid": False, "kid": False}
    if isinstance(network, Missing):
        return {name: _absent(network.reason, better, FidInception.name) for name, better in directions.items()}
    features = network.features(pairs.images)
    figures = {"inception_score": _computed(inception_score(network, features), True, network.name)}
    for name, distance in (("fid", fid), ("kid", kid)):
        figures[name] = _set_distance(name, distance, features, pairs, network, getattr(config, name))
    return figures


def _set_distance(
    name: str,
    distance: Callable[[Tensor, Tensor], float],
    features: Tensor,
    pairs: ImagePairs,
    network: FeatureNetwork,
    asked: bool,
) -> Figure:
    if not asked:
        return _absent(f"not asked for: quality.{name} is false", False, network.name)
    counts = {"images": len(pairs.images), "given images": len(pairs.given)}
    return _of_several(lambda: distance(features, network.features(pairs.given)), counts, False, network.name)


def _of_several(
    compute: Callable[[], float], counts: Mapping[str, int], higher_is_better: bool | None, network: str
) -> Figure:
    """A figure that needs two of everything at least."""
    few = [name for name, count in counts.items() if count < 2]
    if few:
        return _absent(f"needs two {' and two '.join(few)} at least, got one", higher_is_better, network)
    return _computed(compute(), higher_is_better, network)


def _computed(value: float, higher_is_better: bool | None, network: str) -> Figure:
    if math.isinf(value):
        return _absent("infinite: an image equals its given image", higher_is_better, network)
    return Figure(value=value, reason=None, higher_is_better=higher_is_better, network=network)


def _absent(reason: str, higher_is_better: bool | None, network: str) -> Figure:
    return Figure(value=None, reason=reason, higher_is_better=higher_is_better, network=network)


def _check_sizes(given: ImageSet, given_ids: Sequence[str], measured: ImageSet, ids: Sequence[str]) -> None:
    tables = [images.manifest[images.manifest["id"].isin(own)] for images, own in ((given, given_ids), (measured, ids))]
    sizes = {size for table in tables for size in zip(table["width"], table["height"], strict=True)}
    if len(sizes) > 1:
        shown = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
        raise InputError(f"images: got sizes {shown}, expected that of the given images alone")
