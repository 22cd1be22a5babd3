"""How much the images of a set differ from each other, and from the image that each was made from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from components.networks.patches import PatchNetwork

MOST_IMAGES = 32
"""Images of a set that are measured at most, evenly spaced."""


@dataclass(frozen=True, kw_only=True)
class Variety:
    """Figures of one image set; None where they need more images, or a given image to compare with."""

    name: str
    images: int
    """Images of the whole set."""
    pixel_std: float | None
    """Mean over pixels and channels, in [0, 1], of the standard deviation over the images."""
    feature_spread: float | None
    """Mean over places of the distance of a patch's features from their mean over the images (root mean square)."""
    psnr: float | None
    """Mean PSNR in dB to the given image that an image was made from; of several it may be, the nearest one's."""

    def to_content(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def evenly_spaced(items: Sequence[Any]) -> list[Any]:
    """At most `MOST_IMAGES` of some items, from the first to the last."""
    import numpy as np

    places = np.linspace(0, len(items) - 1, min(len(items), MOST_IMAGES)).round().astype(int)
    return [items[place] for place in places]


def variety(
    name: str,
    images: "Tensor",
    network: "PatchNetwork",
    given: "Tensor | None" = None,
    partners: Sequence[Sequence[int]] = (),
    count: int = 0,
) -> Variety:
    """Figures of images [n, 3, height, width] in [0, 1].

    `given` are images [m, 3, height, width], and `partners` the positions of those that each image may have been made
    from; without them there is no PSNR. `count` is the number of images of the whole set, where it is not n.
    """
    several = len(images) > 1
    return Variety(
        name=name,
        images=count or len(images),
        pixel_std=float(images.double().std(dim=0).mean()) if several else None,
        feature_spread=feature_spread(network.fine(images)) if several else None,
        psnr=None if given is None else mean_psnr(images, given, partners),
    )


def feature_spread(patches: "Tensor") -> float:
    """Spread of features [n, p, dim] of the patches at p places of n images, n of 2 or more."""
    return float(patches.var(dim=0).sum(dim=1).sqrt().mean())


def mean_psnr(images: "Tensor", given: "Tensor", partners: Sequence[Sequence[int]]) -> float | None:
    """Mean of each image's highest PSNR; None where every image equals a given one, whose PSNR is infinite."""
    import torch

    from components.networks.perceptual import psnr

    found = torch.stack(
        [psnr(image.unsqueeze(0), given[list(own)]).max() for image, own in zip(images, partners, strict=True)]
    )
    finite = found[found.isfinite()]
    return float(finite.double().mean()) if len(finite) else None


def flat_variety(sets: Mapping[str, Variety]) -> dict[str, float]:
    """The figures that there are as metrics, `SET_FIGURE`, by the keys of the sets."""
    figures = ("pixel_std", "feature_spread", "psnr")
    rows = {f"{key}_{name}": getattr(found, name) for key, found in sets.items() for name in figures}
    return {name: value for name, value in rows.items() if value is not None}
