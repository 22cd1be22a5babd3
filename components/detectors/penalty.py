"""The images on which EfficientAD's student must not follow its teacher: ImageNet in the paper."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from components.decode import IMAGE_SUFFIXES
from components.errors import check
from components.storage.s3 import local_folder

if TYPE_CHECKING:
    from PIL.Image import Image

_PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins", "rocket")
_MOST_FILES = 2000
_ENLARGED = 2
_GREY = 0.3


def penalty_images(source: str, size: int) -> Iterator[Tensor]:
    """Endless images [1, 3, size, size] in [0, 1], drawn from torch's global generator.

    As in the paper, an image is resized to twice the size and cut at its centre, and is grey with probability 0.3.
    The few photographs that replace ImageNet are cut at random.

    Args:
        source: folder or `s3://BUCKET/PREFIX` of images, searched at any depth; empty for scikit-image's photographs.
        size: side in pixels.

    Raises:
        InputError: there is no image.
    """
    from PIL import Image
    from skimage import data
    from torchvision.transforms import v2
    from torchvision.transforms.v2.functional import pil_to_tensor

    if source:
        originals, cut = _files(source, _ENLARGED * size), v2.CenterCrop(size)
    else:
        originals = [Image.fromarray(getattr(data, name)()).convert("RGB") for name in _PHOTOGRAPHS]
        cut = v2.RandomCrop(size)
    transform = v2.Compose([v2.Resize((_ENLARGED * size, _ENLARGED * size)), v2.RandomGrayscale(_GREY), cut])
    while True:
        for index in torch.randperm(len(originals)).tolist():
            yield pil_to_tensor(transform(originals[index])).unsqueeze(0) / 255


def _files(source: str, side: int) -> "list[Image]":
    """At most 2,000 images of a source, evenly spaced in the order of their names, each resized to [side, side]."""
    from PIL import Image

    with local_folder(source, "detection.imagenet_dir") as folder:
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        check(bool(paths), "detection.imagenet_dir", source, "a folder with .jpg or .png images at any depth")
        images = []
        for path in paths[:: -(-len(paths) // _MOST_FILES)]:
            with Image.open(path) as image:
                images.append(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
        return images
