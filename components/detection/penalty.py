"""The images on which EfficientAD's student must not follow its teacher: ImageNet in the paper."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from components.errors import check
from components.storage.s3 import fetch_prefix, is_s3

if TYPE_CHECKING:
    from PIL.Image import Image

_PHOTOGRAPHS = ("astronaut", "camera", "chelsea", "coffee", "coins", "rocket")
_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_MOST_FILES = 2000
_ENLARGED = 2
_GREY = 0.3


def penalty_images(source: str, size: int) -> Iterator[Tensor]:
    """Endless images [1, 3, size, size] in [0, 1], drawn from torch's global generator.

    As in the paper, an image is resized to twice the size and cut at its centre, and is grey with probability 0.3.
    The few photographs that stand in for ImageNet are cut at random.

    Args:
        source: folder or `s3://BUCKET/PREFIX` of images, looked through at any depth; empty for scikit-image's.
        size: side in pixels.

    Raises:
        InputError: there is no image.
    """
    from torchvision.transforms import v2

    originals = _photographs() if not source else _files(source, size)
    cut = v2.CenterCrop(size) if source else v2.RandomCrop(size)
    transform = v2.Compose([v2.Resize((_ENLARGED * size, _ENLARGED * size)), v2.RandomGrayscale(_GREY), cut])
    return _endless(originals, transform)


def _endless(originals: "Sequence[Image]", transform: Callable[[Any], Any]) -> Iterator[Tensor]:
    from torchvision.transforms.v2.functional import pil_to_tensor

    while True:
        for index in torch.randperm(len(originals)).tolist():
            yield pil_to_tensor(transform(originals[index])).unsqueeze(0) / 255


def _photographs() -> "list[Image]":
    from PIL import Image
    from skimage import data

    return [Image.fromarray(getattr(data, name)()).convert("RGB") for name in _PHOTOGRAPHS]


def _files(source: str, size: int) -> "list[Image]":
    """Images of a source, each kept at twice the size that is cut from it."""
    if not is_s3(source):
        return _read(Path(source), source, size)
    with tempfile.TemporaryDirectory() as folder:
        fetch_prefix(source, Path(folder) / "images")
        return _read(Path(folder) / "images", source, size)


def _read(folder: Path, source: str, size: int) -> "list[Image]":
    from PIL import Image

    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    check(bool(paths), "detection.imagenet_dir", source, "a folder with .jpg or .png images at any depth")
    side = _ENLARGED * size
    images = []
    for path in paths[:: -(-len(paths) // _MOST_FILES)]:
        with Image.open(path) as image:
            images.append(image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR))
    return images
