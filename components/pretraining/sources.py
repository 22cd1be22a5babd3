"""The images of pretraining: folders of good images, and the good training images of lines' data sets."""

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from components.artifacts import file_sha256, require_directory
from components.decode import FOLDER, GOOD_FOLDERS, IMAGE_SUFFIXES, decode_shrunk, drawn_for_test
from components.errors import check
from components.pretraining.config import Config
from components.storage.s3 import is_s3, list_objects, local_folder

_OF_TESTS = {"test", "ground_truth", "masks"}


def read_sources(config: Config) -> tuple[list[Tensor], str, list[str]]:
    """Images [3, height, width], uint8, of the folders and data sets of a config, the digest of all, and that of each.

    Images are in the order of their files' digests, so that neither names nor folders matter; equal files count once.
    `InputError`: a folder is missing, has no images or those of a test split, or an image is damaged.
    """
    with ExitStack() as stack:
        files = [path for source in config.sources for path in _folder_images(source, stack)]
        files += [path for dataset in config.datasets for path in _line_images(dataset, stack)]
        by_digest = {file_sha256(path): path for path in files}
        arrays = (decode_shrunk(by_digest[key], config.image_side).copy() for key in sorted(by_digest))
        images = [torch.from_numpy(array).permute(2, 0, 1).contiguous() for array in arrays]
        return images, _digest(by_digest), sorted(by_digest)


def images_digest(files: Iterable[Path]) -> str:
    """Digest of the contents of files, whatever their names and folders; equal files count once."""
    return _digest({file_sha256(path) for path in files})


def _digest(digests: Iterable[str]) -> str:
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _folder_images(source: str, stack: ExitStack) -> list[Path]:
    """All images below a folder of good images; a class folder, with its test images and masks, is refused."""
    names = _names(source)
    folders = {parent for name in names for parent in PurePosixPath(name).parents}
    for folder in sorted(folders):
        siblings = {other for other in folders if other.parent == folder.parent} - {folder, folder.parent}
        of_class = folder.name in _OF_TESTS or (folder.name == "good" and siblings)
        expected = (
            f"good images alone, such as CLASS/train/good, but {folder}/ is part of a data set with a test split; "
            f"`vigil pretrain --lines DIR` takes the good training images of lines' data sets"
        )
        check(not of_class, "pretraining.sources", source, expected)
    local = stack.enter_context(local_folder(source, "pretraining.sources"))
    return [local / name for name in _names(str(local))]


def _line_images(dataset: Mapping[str, str], stack: ExitStack) -> list[Path]:
    """The good training images of a line's data set."""
    uri, layout = dataset["uri"].rstrip("/"), dataset["layout"]
    good = f"{uri}/{GOOD_FOLDERS[layout]}"
    folder = stack.enter_context(local_folder(good, "pretraining.datasets"))
    paths = sorted(path for path in folder.iterdir() if path.is_file() and _is_image(path.name))
    check(bool(paths), "pretraining.datasets", good, f"a folder with images, {' '.join(sorted(IMAGE_SUFFIXES))}")
    if layout != FOLDER:
        return paths
    test = drawn_for_test(len(paths), float(dataset["test_fraction"]), int(dataset["seed"]))
    return [path for index, path in enumerate(paths) if index not in test]


def _names(source: str) -> list[str]:
    """Paths of the images below a folder or a prefix, relative to it."""
    if is_s3(source):
        names = [item.name for item in list_objects(source)]
    else:
        require_directory(Path(source), "pretraining.sources")
        names = [path.relative_to(source).as_posix() for path in sorted(Path(source).rglob("*")) if path.is_file()]
    return [name for name in names if _is_image(name)]


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES
