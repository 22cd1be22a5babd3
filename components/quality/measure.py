"""Quality of an image set beside the given images (paper Table 2, Fig. 2)."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from components.artifacts import QUALITY, ImageSet, new_directory, read_json, write_json
from components.compute import device, seed_everything
from components.errors import InputError
from components.networks.embedding import Embedder, load_embedder
from components.networks.perceptual import Lpips, Perceptual, PerceptualDistance, psnr
from components.preprocessing.stored import Images, Reader, StoredImages, in_batches
from components.preprocessing.transform import preprocessing_of
from components.quality import scores
from components.quality.config import Config
from components.quality.inception import FidInception
from components.weights.fetch import fetch, resolve

_BATCH = 32
_PIXELS = "none: pixels"

Network = TypeVar("Network")


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A network that is unavailable, and why; `retryable` where another run may fetch the weights that are named."""

    reason: str
    retryable: bool = False


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What images are looked at with; loaded once for many sets."""

    inception: scores.FeatureNetwork | Missing
    """For IS, FID and KID."""
    lpips: Perceptual | Missing
    substitute: Perceptual
    """Perceptual distance that is no LPIPS, and says so."""
    embedder: Embedder
    """f of the paper."""


def load_networks(config: Config) -> Networks:
    """The networks of a config; one without weights, or whose weights cannot be fetched, is missing with the reason.

    Raises `InputError` where a reference is unknown or malformed, or weights are of another network.
    """

    def load(build: Callable[[str], Network], reference: str, field: str) -> Network | Missing:
        if not reference:
            return Missing(reason=f"no weights: quality.{field} is empty")
        resolve(reference)
        try:
            fetch(reference)
        except (InputError, OSError) as error:
            return Missing(reason=f"unavailable: {' '.join(str(error).split())}", retryable=True)
        return build(reference)

    return Networks(
        inception=load(FidInception, config.inception, "inception"),
        lpips=load(lambda backbone: Lpips(backbone).to(device()), config.lpips_backbone, "lpips_backbone"),
        substitute=PerceptualDistance().to(device()),
        embedder=load_embedder(config.embedder, config.embedder_weights),
    )


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A row of the table: a number by the named network, or why there is none (`reason`).

    `retryable` where another run may compute it: weights could not be fetched.
    """

    value: float | None = None
    reason: str | None = None
    retryable: bool = False
    higher_is_better: bool | None
    """Null where neither is."""
    network: str


@dataclass(frozen=True, kw_only=True)
class ImagePairs:
    """n images and m given ones in [0, 1], which are read when they are asked for, or embeddings of both, tensors.

    `partners` has, for each image, the positions of the given images that it is compared with.
    """

    images: Images
    given: Images
    partners: Sequence[Sequence[int]]

    def mean(self, score: scores.PairScore) -> float:
        """Mean over images of the mean score against each one's partners."""
        return scores.mean_over_pairs(score, self.images, self.given, self.partners)


def measure_quality(
    reference: str | Path, images: str | Path, quality: str | Path, config: Config, networks: Networks | None = None
) -> dict[str, Any]:
    """Write the table of an image set's quality beside the given images: by metric, the fields of `Figure` as JSON.

    Of both sets the good training images are read. Returns the figures that were computed, and the names of the others.
    Raises `InputError` where a set is empty, images differ in size, or weights are of another network.
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

    One whose source is no given image, as a generated one, is paired with every given image. In a tiled line, the tiles
    of the given images are what is meant. Raises `InputError` where a set is empty, or images differ in size.
    """
    given, measured = ImageSet(reference), ImageSet(images)
    given_ids, ids = given.ids("train", "good"), measured.ids("train", "good")
    for name, found in (("reference", given_ids), ("images", ids)):
        if not found:
            raise InputError(f"{name}: no good training image in it")
    tables = [given.manifest.set_index("id").loc[given_ids], measured.manifest.set_index("id").loc[ids]]
    preprocessing = preprocessing_of(given)
    side, count = preprocessing.image_size, len(preprocessing.tile_boxes)
    sizes = {(side, side), *zip(tables[1]["width"], tables[1]["height"], strict=True)}
    if len(sizes) > 1:
        shown = ", ".join(f"{width} x {height}" for width, height in sorted(sizes))
        raise InputError(f"images: got sizes {shown}, expected that of the given images alone")
    sources, tiles = tables[1]["source"], tables[1].get("tile")
    places = {id: index * count for index, id in enumerate(given_ids)}
    own = {id: places[sources[id]] for id in ids if sources[id] in places}
    partners: list[Sequence[int]] = [
        [own[id] + (0 if tiles is None else int(tiles[id]))] if id in own else range(len(given_ids) * count)
        for id in ids
    ]
    boxes = preprocessing.tile_boxes if preprocessing.tiled else [None]
    return ImagePairs(
        images=StoredImages(Reader(measured), [(id, None) for id in ids]),
        given=StoredImages(Reader(given), [(id, box) for id in given_ids for box in boxes]),
        partners=partners,
    )


def image_quality(pairs: ImagePairs, networks: Networks, config: Config) -> dict[str, Figure]:
    """Every figure, computed or not: Table 2's, FID and KID, and similarity and variance of Fig. 2."""
    embedder = networks.embedder
    vectors = [_by_batch(embedder.embed_images, images) for images in (pairs.images, pairs.given)]
    embedded = ImagePairs(images=vectors[0], given=vectors[1], partners=pairs.partners)

    def cosine(vectors: Tensor, given: Tensor) -> Tensor:
        return (vectors * given).sum(dim=1)

    return {
        **_inception_figures(pairs, networks.inception, config),
        "ssim": _figure(lambda: pairs.mean(scores.ssim), True, _PIXELS),
        "psnr": _figure(lambda: pairs.mean(psnr), True, _PIXELS),
        "lpips": _perceptual(pairs, networks.lpips),
        "efficientnet_distance": _perceptual(pairs, networks.substitute),
        "embedding_similarity": _figure(lambda: embedded.mean(cosine), True, embedder.name),
        "pixel_std": _figure(lambda: scores.pixel_std(pairs.images), None, _PIXELS, {"images": len(pairs.images)}),
    }


def _by_batch(compute: Callable[[Tensor], Tensor], images: Images) -> Tensor:
    """What a network makes of images, [n, d], a batch of which is read at a time."""
    return torch.cat([compute(batch) for batch in in_batches(images, _BATCH)])


def _perceptual(pairs: ImagePairs, network: Perceptual | Missing) -> Figure:
    if isinstance(network, Missing):
        return _figure(network, False, Lpips.name)

    @torch.no_grad()
    def distance(images: Tensor, targets: Tensor) -> Tensor:
        distances: Tensor = network(images.to(device()) * 2 - 1, targets.to(device()) * 2 - 1)
        return distances

    return _figure(lambda: pairs.mean(distance), False, network.name)


def _inception_figures(
    pairs: ImagePairs, network: scores.FeatureNetwork | Missing, config: Config
) -> dict[str, Figure]:
    if isinstance(network, Missing):
        names = ("inception_score", "fid", "kid")
        return {name: _figure(network, name == "inception_score", FidInception.name) for name in names}
    features = _by_batch(network.features, pairs.images)
    figures = {"inception_score": _figure(lambda: scores.inception_score(network, features), True, network.name)}
    counts = {"images": len(pairs.images), "given images": len(pairs.given)}
    for name, asked, distance in (("fid", config.fid, scores.fid), ("kid", config.kid, scores.kid)):
        unasked = Missing(reason=f"not asked for: quality.{name} is false")
        compute = partial(distance, features, _by_batch(network.features, pairs.given)) if asked else unasked
        figures[name] = _figure(compute, False, network.name, counts if asked else {})
    return figures


def _figure(
    compute: Callable[[], float] | Missing, better: bool | None, network: str, counts: Mapping[str, int] | None = None
) -> Figure:
    """A figure, or why there is none; one that has `counts` needs two at least of each."""
    if few := [name for name, count in (counts or {}).items() if count < 2]:
        compute = Missing(reason=f"needs two {' and two '.join(few)} at least, got one")
    if not isinstance(compute, Missing):
        if not math.isinf(value := compute()):
            return Figure(value=value, higher_is_better=better, network=network)
        compute = Missing(reason="infinite: an image equals its given image")
    return Figure(reason=compute.reason, retryable=compute.retryable, higher_is_better=better, network=network)
