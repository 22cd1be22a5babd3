"""Writes the augmented image set, I^o to I_1 ... I_N (paper section 4.1)."""

from pathlib import Path
from typing import Any

from components.artifacts import ImageSet, new_image_set
from components.augmentation.config import Config
from components.augmentation.policies import make_policy
from components.compute import seed_everything

MIN_PER_GIVEN = 2
"""Augmentations of each given image."""


def augment_images(reference: str | Path, augmented: str | Path, config: Config) -> dict[str, Any]:
    """Augment the given good images in turn until there are N, and two of each.

    Two, because the variance over a given image's augmentations (Eq. 3) needs as many.

    Args:
        reference: image set; only its good training images are read.
        augmented: artifact to write; `source` of each row is the id of the image it was made from.
        config: settings.

    Returns:
        Number of images, and the digest of the set.
    """
    import torch

    seed_everything(config.seed)
    given = ImageSet(reference)
    ids = given.ids("train", "good")
    count = max(config.images, MIN_PER_GIVEN * len(ids))
    policy = make_policy(config.policy, config.strength, int(given.manifest["width"].iloc[0]))
    with new_image_set(augmented) as (writer, _):
        for index in range(count):
            source = ids[index % len(ids)]
            image = torch.from_numpy(given.image(source).copy()).permute(2, 0, 1)
            writer.add(policy(image).permute(1, 2, 0).numpy(), id=f"augmented-{index:03d}", source=source)
    return {"images": count, "augmented_digest": ImageSet(augmented).digest}
