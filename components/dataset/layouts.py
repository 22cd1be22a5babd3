"""Finds the images and masks of a class folder in one of the known layouts.

`mvtec`   train/good, test/TYPE, ground_truth/TYPE/ID_mask.png
`loco`    as mvtec, with validation/good and several masks per image: ground_truth/TYPE/ID/*.png
`btad`    train/ok, test/ok, test/ko, ground_truth/ko/ID.png
`folder`  good, one folder per defect, masks/DEFECT/ID.png; the test split is drawn by the seed
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from components.artifacts import require_directory
from components.dataset.config import Config
from components.decode import FOLDER, GOOD_FOLDERS, IMAGE_SUFFIXES, drawn_for_test
from components.errors import InputError

_MASKS = "masks"
_SPLIT_LAYOUTS = {"mvtec": ("good", "_mask"), "loco": ("good", ""), "btad": ("ok", "")}
"""Name of the folders of good images, and what a mask's stem has after its image's, of the layouts with a split."""


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One image file of a class folder."""

    path: Path
    split: str
    """`train`, `calibration`, `validation` or `test`."""
    defect: str = ""
    """Defect type; empty for good images."""
    masks: tuple[Path, ...] = ()

    @property
    def id(self) -> str:
        """Unique name in the image set."""
        return f"{self.split}-{self.defect or 'good'}-{self.path.stem}"


def find_images(root: Path, config: Config) -> list[SourceImage]:
    """All images of a class folder, sorted by path within a split and type.

    Raises `InputError` where a folder is missing or empty, or an image and its mask do not match.
    """
    require_directory(root, "dataset")
    if config.layout == FOLDER:
        sources = _find_folder(root, config)
    else:
        sources = _find_split(root, *_SPLIT_LAYOUTS[config.layout])
    kinds = {(source.split, bool(source.defect)) for source in sources}
    expected = {("train", False): "good training", ("test", False): "good test", ("test", True): "bad test"}
    for kind, what in expected.items():
        if kind not in kinds:
            raise InputError(f"dataset: no {what} images below {root}")
    _require_unique((source.id, source.path) for source in sources)
    return sources


def _find_split(root: Path, good: str, mask_suffix: str) -> list[SourceImage]:
    """Images of a layout with folders for train and test."""
    splits = ["train", "validation"] if (root / "validation" / good).is_dir() else ["train"]
    sources = [SourceImage(path=path, split=split) for split in splits for path in _images(root / split / good)]
    require_directory(root / "test", "dataset")
    for folder in _subfolders(root / "test"):
        masks = _masks(root / "ground_truth" / folder.name, mask_suffix)
        sources += _test_images(folder, "" if folder.name == good else folder.name, masks)
    return sources


def _find_folder(root: Path, config: Config) -> list[SourceImage]:
    """Images of the layout `folder`, whose test split is drawn."""
    good = _images(root / GOOD_FOLDERS[FOLDER])
    held_out = drawn_for_test(len(good), config.test_fraction, config.seed)
    sources = [
        SourceImage(path=path, split="test" if index in held_out else "train") for index, path in enumerate(good)
    ]
    for folder in _subfolders(root):
        if folder.name not in (GOOD_FOLDERS[FOLDER], _MASKS):
            masks = _masks(root / _MASKS / folder.name, "") or _masks(root / _MASKS / folder.name, "_mask")
            sources += _test_images(folder, folder.name, masks)
    return sources


def _test_images(folder: Path, defect: str, masks: Mapping[str, tuple[Path, ...]]) -> list[SourceImage]:
    images = _images(folder)
    stems = {path.stem for path in images}
    for stem, files in masks.items():
        if stem not in stems:
            raise InputError(f"mask {files[0]}: no image {stem} in {folder}")
    for path in images:
        if masks and defect and path.stem not in masks:
            raise InputError(f"image {path}: no mask, while other images of this folder have one")
    return [SourceImage(path=path, split="test", defect=defect, masks=masks.get(path.stem, ())) for path in images]


def _masks(folder: Path, suffix: str) -> dict[str, tuple[Path, ...]]:
    """Mask files by the stem of their image; a subfolder holds the several masks of one image."""
    found: dict[str, list[Path]] = defaultdict(list)
    if not folder.is_dir():
        return {}
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            found[path.name] = _images(path)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            found[path.stem.removesuffix(suffix)].append(path)
    return {stem: tuple(files) for stem, files in found.items()}


def _images(folder: Path) -> list[Path]:
    require_directory(folder, "dataset")
    images = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES)
    if not images:
        raise InputError(f"dataset: no images in {folder}, expected {' '.join(sorted(IMAGE_SUFFIXES))}")
    _require_unique((path.stem, path) for path in images)
    return images


def _require_unique(named: Iterable[tuple[str, Path]]) -> None:
    seen: dict[str, Path] = {}
    for name, path in named:
        if name in seen:
            raise InputError(f"dataset: {seen[name]} and {path} have the same name, {name}")
        seen[name] = path


def _subfolders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
