"""Writes the augmented image set, I^o to I_1 ... I_N (paper section 4.1)."""

import math
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import ImageSet, new_image_set
from components.augmentation.choice import choose_policy
from components.augmentation.config import AUTO, Config, policy_alternatives
from components.augmentation.policies import make_augmentations
from components.compute import seed_everything
from components.preprocessing.transform import Preprocessing, preprocessing_of
from components.settings import in_metric_name

if TYPE_CHECKING:
    from components.artifacts import UInt8Image
    from components.augmentation.policies import Augmentation

MIN_PER_GIVEN, MOST = 2, 1000
"""Least augmentations of each given image, and most of all."""


def augment_images(
    reference: str | Path, augmented: str | Path, config: Config, synthetic: str | Path | None = None
) -> dict[str, Any]:
    """Augment each good training image of `reference`, or each of its tiles, N times, in turn.

    At least twice, because the variance over a given image's augmentations (Eq. 3) needs as many. `source` of each row
    is the id of the image it was made from, `tile` the number of the tile in a tiled line. Padding is left as it is.
    The policy `auto` is chosen by the `synthetic` defects.

    Returns the number of images, the digest of the set, and the policy; with `auto`, why it was chosen, the AUROC of
    each policy, and whether the part seems to lie in any direction.
    """
    policy, chosen = config.policy, dict[str, Any]()
    if policy == AUTO:
        choice = choose_policy(reference, synthetic, config)
        policy, chosen = choice.policy, {"policy_reason": choice.reason}
        chosen |= {f"policy_auroc_{in_metric_name(name)}": value for name, value in choice.auroc.items()}
        chosen |= {} if choice.orientation_free is None else {"orientation_free_estimate": choice.orientation_free}
    seed_everything(config.seed)
    given = ImageSet(reference)
    ids = given.ids("train", "good")
    preprocessing = preprocessing_of(given)
    pieces = [(id, tile) for id in ids for tile in range(len(preprocessing.tile_boxes))]
    alternatives = len(policy_alternatives(policy))
    each = max(min(config.images, MOST // (len(pieces) * alternatives)), math.ceil(MIN_PER_GIVEN / alternatives))
    size = _content_size(preprocessing)
    by_piece = [make_augmentations(policy, each, config.strength, *size) for _ in pieces]
    in_turn = list(chain.from_iterable(zip(*by_piece, strict=True)))
    with new_image_set(augmented) as (writer, _):
        for index, augmentation in enumerate(in_turn):
            source, tile = pieces[index % len(pieces)]
            writer.add(
                _augmented(given.image(source), tile, preprocessing, augmentation),
                id=f"augmented-{index:03d}",
                source=source,
                tile=tile if preprocessing.tiled else None,
            )
    return {"images": len(in_turn), "augmented_digest": ImageSet(augmented).digest, "policy": policy, **chosen}


def _content_size(preprocessing: Preprocessing) -> tuple[int, int]:
    """Height and width of what is augmented: a tile, or the content where there is padding."""
    side = preprocessing.image_size
    return preprocessing.content[::-1] if preprocessing.padded else (side, side)


def _augmented(
    image: "UInt8Image", tile: int, preprocessing: Preprocessing, augmentation: "Augmentation"
) -> "UInt8Image":
    """Augmentation of one tile of an image [height, width, 3]; of its content where there is padding."""
    import torch

    rows, columns = preprocessing.tile_boxes[tile].slices
    piece = image[rows, columns].copy()
    rows, columns = preprocessing.content_box.slices if preprocessing.padded else (slice(None), slice(None))
    content = torch.from_numpy(piece[rows, columns].copy()).permute(2, 0, 1)
    piece[rows, columns] = augmentation(content).permute(1, 2, 0).numpy()
    return piece
