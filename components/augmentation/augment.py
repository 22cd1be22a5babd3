"""Writes the augmented image set, I^o to I_1 ... I_N (paper section 4.1)."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import ImageSet, new_image_set
from components.augmentation.config import AUTOAUGMENT, ROTATIONS, Config
from components.compute import rotate, seed_everything
from components.preprocessing.transform import Preprocessing, preprocessing_of

if TYPE_CHECKING:
    from torch import Tensor

    from components.artifacts import UInt8Image

    Augmentation = Callable[[Tensor], Tensor]

MAX_SHIFT = 0.008
"""Largest move of the photometric policy, as a share of the side: two pixels of 256."""
MIN_PER_GIVEN, MOST = 2, 1000
"""Least augmentations of each given image, and most of all."""


def augment_images(reference: str | Path, augmented: str | Path, config: Config) -> dict[str, Any]:
    """Augment each good training image of `reference`, or each of its tiles, N times, in turn.

    At least twice, because the variance over a given image's augmentations (Eq. 3) needs as many. `source` of each row
    is the id of the image it was made from, `tile` the number of the tile in a tiled line. Padding is left as it is.
    Returns the number of images, and the digest of the set.
    """
    seed_everything(config.seed)
    given = ImageSet(reference)
    ids = given.ids("train", "good")
    preprocessing = preprocessing_of(given)
    pieces = [(id, tile) for id in ids for tile in range(len(preprocessing.tile_boxes))]
    count = len(pieces) * max(MIN_PER_GIVEN, min(config.images, MOST // len(pieces)))
    with new_image_set(augmented) as (writer, _):
        for index in range(count):
            source, tile = pieces[index % len(pieces)]
            writer.add(
                _augmented(given.image(source), tile, preprocessing, config),
                id=f"augmented-{index:03d}",
                source=source,
                tile=tile if preprocessing.tiled else None,
            )
    return {"images": count, "augmented_digest": ImageSet(augmented).digest}


def _augmented(image: "UInt8Image", tile: int, preprocessing: Preprocessing, config: Config) -> "UInt8Image":
    """Augmentation of one tile of an image [height, width, 3]; of its content where there is padding."""
    import torch

    rows, columns = preprocessing.tile_boxes[tile].slices
    piece = image[rows, columns].copy()
    rows, columns = preprocessing.content_box.slices if preprocessing.padded else (slice(None), slice(None))
    content = torch.from_numpy(piece[rows, columns].copy()).permute(2, 0, 1)
    policy = make_policy(config.policy, config.strength, *content.shape[1:])
    piece[rows, columns] = policy(content).permute(1, 2, 0).numpy()
    return piece


def make_policy(name: str, strength: float, height: int, width: int) -> "Augmentation":
    """Augmentation of a policy for uint8 images [3, height, width], drawn from torch's global generator."""
    import torch
    from torchvision.transforms import v2

    if name == AUTOAUGMENT:
        return v2.AutoAugment()  # type: ignore[no-any-return]
    if name == "randaugment":
        return v2.RandAugment(magnitude=min(30, round(9 * strength)))  # type: ignore[no-any-return]
    if name == ROTATIONS:
        return lambda image: rotate(image, float(torch.rand(()) * 360))
    assert name == "photometric", name
    jitter = 0.12 * strength
    photometric: Augmentation = v2.Compose(
        [
            v2.RandomCrop((height, width), padding=round(MAX_SHIFT * width * strength), padding_mode="reflect"),
            v2.ColorJitter(brightness=jitter, contrast=jitter, saturation=jitter, hue=0.01 * strength),
            v2.RandomApply([v2.GaussianBlur(3, sigma=(0.1, 0.1 + 0.5 * strength))], p=0.5 if strength else 0.0),
            v2.ToDtype(torch.float32, scale=True),
            v2.GaussianNoise(sigma=0.01 * strength),
            v2.ToDtype(torch.uint8, scale=True),
        ]
    )
    return photometric
