"""Quality of an image set beside the given images (paper Table 2, Fig. 2)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from components.artifacts import QUALITY, ImageSet, new_directory, read_json, write_json
from components.compute import device, seed_everything
from components.errors import InputError
from components.networks.embedding import Embedder
from components.networks.perceptual import Lpips, Perceptual, psnr
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
    ssim,
)

_PIXELS = "none: pixels"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A row of the table: a number, or why there is none."""

    value: float | None = None
    """Null where it was not computed."""
    reason: str | None = None
    """Why it was not; null where it was."""
    retryable: bool = False
    """Whether another run may compute it: weights could not be fetched."""
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
        quality: artifact to write: by metric, the fields of `Figure` as JSON.
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


def is_final(quality: str | Path) -> bool:
    """Whether another run would write the same table: not where weights could not be fetched."""
    return not any(figure["retryable"] for figure in read_json(Path(quality) / QUALITY).values())


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
    tables = [given.manifest.set_index("id").loc[given_ids], measured.manifest.set_index("id").loc[ids]]
    sizes = {size for table in tables for size in zip(table["width"], table["height"], strict=True)}
    if len(sizes) > 1:
        shown = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
        raise InputError(f"images: got sizes {shown}, expected that of the given images alone")
    sources = tables[1]["source"]
    partners = [[given_ids.index(sources[id])] if sources[id] in given_ids else range(len(given_ids)) for id in ids]
    return ImagePairs(images=measured.tensor(ids), given=given.tensor(given_ids), partners=partners)


def image_quality(pairs: ImagePairs, networks: Networks, config: Config) -> dict[str, Figure]:
    """Every figure, computed or not: Table 2's, FID and KID, and similarity and variance of Fig. 2."""
    embedder = networks.embedder
    return {
        **_inception_figures(pairs, networks.inception, config),
        "ssim": _figure(lambda: pairs.mean(ssim), True, _PIXELS),
        "psnr": _figure(lambda: pairs.mean(psnr), True, _PIXELS),
        "lpips": _perceptual(pairs, networks.lpips),
        "efficientnet_distance": _perceptual(pairs, networks.substitute),
        "embedding_similarity": _figure(lambda: embedding_similarity(pairs, embedder), True, embedder.name),
        "pixel_std": _figure(lambda: pixel_std(pairs.images), None, _PIXELS, {"images": len(pairs.images)}),
    }


def embedding_similarity(pairs: ImagePairs, embedder: Embedder) -> float:
    """Mean cosine of the embeddings of images and their given images."""
    vectors, given = embedder.embed_images(pairs.images), embedder.embed_images(pairs.given)
    return mean_over_pairs(lambda one, other: (one * other).sum(dim=1), vectors, given, pairs.partners)


def _perceptual(pairs: ImagePairs, network: Perceptual | Missing) -> Figure:
    if isinstance(network, Missing):
        return _missing(network, False, Lpips.name)

    @torch.no_grad()
    def distance(images: Tensor, targets: Tensor) -> Tensor:
        distances: Tensor = network(images.to(device()) * 2 - 1, targets.to(device()) * 2 - 1)
        return distances

    return _figure(lambda: pairs.mean(distance), False, network.name)


def _inception_figures(pairs: ImagePairs, network: FeatureNetwork | Missing, config: Config) -> dict[str, Figure]:
    if isinstance(network, Missing):
        directions = {"inception_score": True, "fid": False, "kid": False}
        return {name: _missing(network, better, FidInception.name) for name, better in directions.items()}
    features = network.features(pairs.images)
    figures = {"inception_score": _figure(lambda: inception_score(network, features), True, network.name)}
    counts = {"images": len(pairs.images), "given images": len(pairs.given)}
    for name, asked, distance in (("fid", config.fid, fid), ("kid", config.kid, kid)):
        if asked:
            compute = partial(distance, features, network.features(pairs.given))
            figures[name] = _figure(compute, False, network.name, counts)
        else:
            missing = Missing(reason=f"not asked for: quality.{name} is false")
            figures[name] = _missing(missing, False, network.name)
    return figures


def _figure(
    compute: Callable[[], float],
    higher_is_better: bool | None,
    network: str,
    counts: Mapping[str, int] = MappingProxyType({}),
) -> Figure:
    """A figure; one that has `counts` needs two at least of each."""
    few = [name for name, count in counts.items() if count < 2]
    if few:
        missing = Missing(reason=f"needs two {' and two '.join(few)} at least, got one")
        return _missing(missing, higher_is_better, network)
    value = compute()
    if math.isinf(value):
        return _missing(Missing(reason="infinite: an image equals its given image"), higher_is_better, network)
    return Figure(value=value, higher_is_better=higher_is_better, network=network)


def _missing(missing: Missing, higher_is_better: bool | None, network: str) -> Figure:
    return Figure(
        reason=missing.reason, retryable=missing.retryable, higher_is_better=higher_is_better, network=network
    )
