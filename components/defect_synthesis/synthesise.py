"""Writes the image set of synthetic defects, drawn on good images that detectors are validated on.

What a detector makes of them is a proxy for what it makes of real defects, and called so wherever it is shown.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.artifacts import ImageSet, new_image_set
from components.defect_synthesis.config import Config
from components.defect_synthesis.families import DRAWN
from components.defect_synthesis.part import Part, find_foreground
from components.preprocessing.geometry import Box
from components.preprocessing.transform import preprocessing_of

if TYPE_CHECKING:
    from components.artifacts import BoolMask, UInt8Image

_LEAST_CHANGE = 0.025
"""Mean change of a pixel of the region, of the largest of its channels and of 1, that counts as visible."""
_LEAST_PIXELS = 8
_MOST_TRIES = 20


def synthesise_defects(reference: str | Path, synthetic: str | Path, config: Config) -> dict[str, Any]:
    """Draw defects on the good images of the splits `train` and `calibration` of a reference image set.

    Rows have the split `test`, the label `bad`, the family as defect, the good image's id as source, and a mask of what
    was drawn. The draws of an image depend on its pixels and the seed alone. Returned are the number of images, in all
    and by family, how many of the good images have a part on a ground, and the digest of the set.
    """
    images = ImageSet(reference)
    turns, content = _turns(images, config), preprocessing_of(images).content_box
    drawn, parts = Counter[str](), 0
    with new_image_set(synthetic) as (writer, _):
        for id, digest, families in turns:
            whole = images.image(id)
            image = whole[content.slices]
            foreground = find_foreground(image)
            parts += not bool(foreground.all())
            for index, family in enumerate(families):
                seed = int(hashlib.sha256(f"{digest} {family} {index} {config.seed}".encode()).hexdigest()[:16], 16)
                found = draw_defect(family, Part.of(image, foreground, np.random.default_rng(seed)))
                if found is not None:
                    changed, mask = _beside_padding(*found, whole, content)
                    name = f"synthetic-{family}-{index:02d}-{id}"
                    writer.add(changed, id=name, split="test", label="bad", defect=family, source=id, mask=mask)
                    drawn[family] += 1
    by_family = {f"synthetic_{name}": drawn[name] for name in config.families}
    counts = {"synthetic": drawn.total(), **by_family, "images_with_a_ground": parts}
    return {**counts, "synthetic_digest": ImageSet(synthetic).digest}


def _beside_padding(
    changed: "UInt8Image", mask: "BoolMask", whole: "UInt8Image", content: Box
) -> "tuple[UInt8Image, BoolMask]":
    """A changed content and its mask, in the image that it was cut from."""
    image, marked = whole.copy(), np.zeros(whole.shape[:2], dtype=bool)
    image[content.slices], marked[content.slices] = changed, mask
    return image, marked


def draw_defect(family: str, part: Part) -> "tuple[UInt8Image, BoolMask] | None":
    """A good image with a visible defect of a family, and the mask of the defect; None where no try shows one."""
    for _ in range(_MOST_TRIES):
        changed, mask = DRAWN[family](part)
        image = (changed.clip(0, 1) * 255).round().astype(np.uint8)
        if mask.sum() >= _LEAST_PIXELS and not mask.all():
            change = np.abs(image / 255 - part.image).max(axis=-1)
            if change[mask].mean() >= _LEAST_CHANGE:
                return image, mask
    return None


def _turns(images: ImageSet, config: Config) -> list[tuple[str, str, list[str]]]:
    """Id and digest of the pixels of each good image, and the families that are drawn on it.

    Where there is not room for all families on each image, an image's digest says with which one its turn begins; where
    there is not room for one on each, the images with the lowest digests have one.
    """
    good = [id for split in ("train", "calibration") for id in images.ids(split, "good")]
    digests = {id: hashlib.sha256(images.image(id).tobytes()).hexdigest() for id in good}
    chosen = sorted(good, key=digests.__getitem__)[: config.limit]
    each = max(1, min(config.per_image, config.limit // max(1, len(chosen))))
    kept = set(chosen)
    return [(id, digests[id], list(_turn(config.families, digests[id], each))) for id in good if id in kept]


def _turn(families: Sequence[str], digest: str, count: int) -> Iterator[str]:
    """The next families in turn, from one on that the digest names."""
    start = int(digest[:8], 16)
    for index in range(count):
        yield families[(start + index) % len(families)]
