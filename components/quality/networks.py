"""The networks that look at images, or the reasons why they are not at hand."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from components.compute import device
from components.errors import InputError
from components.networks.embedding import Embedder, load_embedder
from components.networks.perceptual import Lpips, Perceptual, PerceptualDistance
from components.quality.config import Config
from components.quality.inception import FidInception
from components.quality.scores import FeatureNetwork
from components.weights import fetch as weights

Network = TypeVar("Network")

NOT_TO_BE_HAD = "not to be had"
"""Start of the reason where named weights could not be fetched, which another time they may be."""


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A network that is not at hand."""

    reason: str
    """Why, in one line."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What images are looked at with; loaded once for many sets."""

    inception: FeatureNetwork | Missing
    """For IS, FID and KID."""
    lpips: Perceptual | Missing
    """LPIPS."""
    stand_in: Perceptual
    """Perceptual distance that is no LPIPS, and says so."""
    embedder: Embedder
    """f of the paper."""


def load_networks(config: Config) -> Networks:
    """The networks of a config; what has no weights, or weights that cannot be had, is missing with the reason.

    Raises:
        InputError: a reference is unknown or malformed, or weights are of another network.
    """
    return Networks(
        inception=_network(FidInception, config.inception, "inception"),
        lpips=_network(_lpips, config.lpips_backbone, "lpips_backbone"),
        stand_in=PerceptualDistance().to(device()),
        embedder=load_embedder(config.embedder, config.embedder_weights),
    )


def _network(build: Callable[[str], Network], reference: str, field: str) -> Network | Missing:
    if not reference:
        return Missing(reason=f"no weights: quality.{field} is empty")
    weights.resolve(reference)
    try:
        weights.fetch(reference)
    except (InputError, OSError) as error:
        return Missing(reason=f"{NOT_TO_BE_HAD}: {' '.join(str(error).split())}")
    return build(reference)


def _lpips(backbone: str) -> Lpips:
    return Lpips(backbone).to(device())
