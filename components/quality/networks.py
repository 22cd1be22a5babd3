"""The networks that look at images, or the reasons why they are unavailable."""

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
from components.weights.fetch import fetch, resolve

Network = TypeVar("Network")


@dataclass(frozen=True, kw_only=True)
class Missing:
    """A network that is unavailable."""

    reason: str
    """Why, in one line."""
    retryable: bool = False
    """Whether another run may find it: its weights are named, but could not be fetched."""


@dataclass(frozen=True, kw_only=True)
class Networks:
    """What images are looked at with; loaded once for many sets."""

    inception: FeatureNetwork | Missing
    """For IS, FID and KID."""
    lpips: Perceptual | Missing
    """LPIPS."""
    substitute: Perceptual
    """Perceptual distance that is no LPIPS, and says so."""
    embedder: Embedder
    """f of the paper."""


def load_networks(config: Config) -> Networks:
    """The networks of a config; one without weights, or whose weights cannot be fetched, is missing with the reason.

    Raises:
        InputError: a reference is unknown or malformed, or weights are of another network.
    """
    return Networks(
        inception=_network(FidInception, config.inception, "inception"),
        lpips=_network(lambda backbone: Lpips(backbone).to(device()), config.lpips_backbone, "lpips_backbone"),
        substitute=PerceptualDistance().to(device()),
        embedder=load_embedder(config.embedder, config.embedder_weights),
    )


def _network(build: Callable[[str], Network], reference: str, field: str) -> Network | Missing:
    if not reference:
        return Missing(reason=f"no weights: quality.{field} is empty")
    resolve(reference)
    try:
        fetch(reference)
    except (InputError, OSError) as error:
        return Missing(reason=f"unavailable: {' '.join(str(error).split())}", retryable=True)
    return build(reference)
