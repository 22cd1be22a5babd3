"""The images of pretraining: folders of good images, and the good training images of lines' data sets."""

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from components.artifacts import file_sha256
from components.decode import decode_shrunk
from components.listing.layouts import PLAIN, Listing, check_good_alone
from components.listing.opened import opened
from components.pretraining.config import Config

_File = tuple[Path, str]
"""An image file of this machine, and its name for messages."""
_ADVICE = "; `vigil pretrain --lines DIR` takes the good training images of lines' data sets"


def read_sources(config: Config) -> tuple[list[Tensor], str, list[str]]:
    """Images [3, height, width], uint8, of the folders and data sets of a config, the digest of all, and that of each.

    Images are in the order of their files' digests, so that neither names nor folders matter; equal files count once.
    `InputError`: a folder is missing, has no images or those of a test split, or an image is damaged.
    """
    with ExitStack() as stack:
        files = [found for source in config.sources for found in _folder_images(source, stack)]
        files += [found for dataset in config.datasets for found in _line_images(dataset, stack)]
        by_digest = {file_sha256(path): (path, name) for path, name in files}
        arrays = [
            decode_shrunk(path, config.image_side, f"image {name}").copy()
            for path, name in (by_digest[key] for key in sorted(by_digest))
        ]
        images = [torch.from_numpy(array).permute(2, 0, 1).contiguous() for array in arrays]
        return images, _digest(by_digest), sorted(by_digest)


def images_digest(files: Iterable[Path]) -> str:
    """Digest of the contents of files, whatever their names and folders; equal files count once."""
    return _digest({file_sha256(path) for path in files})


def _digest(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _folder_images(source: str, stack: ExitStack) -> list[_File]:
    """All images below a folder of good images; a class folder, with its test images and masks, is refused."""

    def good_alone(listing: Listing) -> Listing:
        check_good_alone(listing, source, "pretraining.sources", _ADVICE)
        return listing

    found = stack.enter_context(opened(source, PLAIN, "pretraining.sources", wanted=good_alone))
    return [(found.path(image.name), found.shown(image.name)) for image in found.listing.sources]


def _line_images(dataset: Mapping[str, str], stack: ExitStack) -> list[_File]:
    """The good training images of a line's data set."""

    def good(listing: Listing) -> Listing:
        sources = tuple(found for found in listing.sources if found.split == "train")
        return dataclasses.replace(listing, sources=sources, others=())

    found = stack.enter_context(opened(dataset["uri"], dataset["layout"], "pretraining.datasets", wanted=good))
    sources = found.sources(float(dataset["test_fraction"]))
    return [(found.path(image.name), found.shown(image.name)) for image in sources if image.split == "train"]
