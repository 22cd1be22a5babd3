"""Arranges the names of a data set's files by one of the known layouts.

`mvtec`   train/good, test/TYPE, ground_truth/TYPE/ID_mask.png
`loco`    as mvtec, with validation/good and several masks per image: ground_truth/TYPE/ID/*.png
`btad`    train/ok, test/ok, test/ko, ground_truth/ko/ID.png
`folder`  good, one folder per defect, masks/DEFECT/ID.png; the test split is drawn by the images' content
`plain`   images at any depth, all of them good

Images may lie in sub-folders of their folder. Folders may differ from these names in case, `-`, `_` and spaces.
"""

import dataclasses
import difflib
import hashlib
import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from components.errors import InputError, check
from components.listing.files import IMAGE_SUFFIXES, LeftOut, images_of, readable

FOLDER, LOCO, PLAIN = "folder", "loco", "plain"
LAYOUTS = ("mvtec", "btad", LOCO, FOLDER)
"""Layouts of a class folder."""
DEFECTS_CONFIG = "defects_config.json"
"""File of the layout `loco` with the kinds of its regions."""

_GOOD: Mapping[str, str] = {"mvtec": "good", "btad": "ok", LOCO: "good", FOLDER: "good"}
_MASK_FOLDERS: Mapping[str, str] = {"mvtec": "ground_truth", "btad": "ground_truth", LOCO: "ground_truth"}
_MASK_NAMES = {"groundtruth", "groundtruths", "gt", "mask", "masks"}
_MASK_SUFFIXES: Mapping[str, str] = {"mvtec": "_mask"}
_OF_TESTS = {"test", "ground_truth", "masks"}
_SIMILAR = 0.85
_HASH_LETTERS = 8


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """One image file of a data set."""

    name: str
    """Path below the data set, with `/`."""
    split: str = "train"
    """`train`, `calibration`, `validation` or `test`."""
    defect: str = ""
    """Defect type; empty for good images."""
    masks: tuple[str, ...] = ()
    """Mask files, as `name`; those of a good image mark nothing."""
    tail: str
    """Last part of the id: the path below the folder of its kind without the ending, `-` for `/`."""

    @property
    def id(self) -> str:
        """Unique name in the image set."""
        return f"{self.split}-{readable(self.defect) or 'good'}-{self.tail}"


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What is read of a data set, and what is not."""

    sources: tuple[SourceImage, ...]
    """Images in the order of their names, within a split and type."""
    others: tuple[str, ...]
    """Files that are read beside images and masks."""
    left_out: tuple[LeftOut, ...]
    """What is not read, in the order of its paths."""
    notes: tuple[str, ...]
    """Sentences on names that were read as the layout's."""
    splits: bool
    """Whether the test split is yet to be drawn out of the good training images, by `hold_out`."""

    @property
    def names(self) -> list[str]:
        """All files that are read, sorted."""
        masks = (mask for source in self.sources for mask in source.masks)
        return sorted({*(source.name for source in self.sources), *masks, *self.others})


def arrange(
    names: Iterable[str], layout: str, uri: str, left_out: Sequence[LeftOut] = (), what: str = "dataset"
) -> Listing:
    """Listing of the names of a data set's files, those of empty folders with a `/` at their end.

    What was left out before is added to. `InputError`, which calls the data set `what` and files by the address `uri`,
    where there is no good training image, a mask has no image, one of several images has no mask, or two images of a
    folder have the same name.
    """
    arrangement = _Arrangement(layout=layout, uri=uri, what=what, left_out=list(left_out))
    tree = _Branch.of(names)
    if layout == PLAIN:
        arrangement.add_plain(tree)
    elif layout == FOLDER:
        arrangement.add_folder(tree)
    else:
        arrangement.add_splits(tree)
    return arrangement.listing()


def hold_out(listing: Listing, fraction: float, sha256: Callable[[str], str]) -> tuple[SourceImage, ...]:
    """Images with their test split: some good training images of a data set that has no good test images of its own.

    An image is held out where the digest of its content, as a share of all digests, is below the fraction, so that
    another image moves none, and equal files stay together. Of two images or more at least one is held out, that of the
    lowest digest, and at least one trained on. `sha256` gives the digest of a name's file.
    """
    if not listing.splits:
        return listing.sources
    digests = {source.name: sha256(source.name) for source in listing.sources if source.split == "train"}
    known = sorted(set(digests.values()))
    held = {digest for digest in known if int(digest, 16) < fraction * 16 ** len(digest)} | set(known[:1])
    if len(held) == len(known):
        held.remove(known[-1])
    return tuple(
        dataclasses.replace(source, split="test") if digests.get(source.name) in held else source
        for source in listing.sources
    )


def check_good_alone(listing: Listing, uri: str, name: str, advice: str = "") -> None:
    """Raise `InputError` where a plain folder of good images, at `uri`, is a data set with test images or masks.

    Messages call it `name` and end with the advice.
    """
    folders = {parent for found in listing.sources for parent in PurePosixPath(found.name).parents}
    for folder in sorted(folders):
        siblings = {other for other in folders if other.parent == folder.parent} - {folder, folder.parent}
        of_class = folder.name in _OF_TESTS or (folder.name == "good" and siblings)
        example = f"good images alone, such as CLASS/train/good, but {folder}/ is part of a data set with a test split"
        check(not of_class, name, uri, f"{example}{advice}")


@dataclass(frozen=True, kw_only=True)
class _Branch:
    """Names below a folder, which is a prefix of them that ends with `/`, or empty."""

    path: str
    names: tuple[str, ...]

    @classmethod
    def of(cls, names: Iterable[str], path: str = "") -> "_Branch":
        return cls(path=path, names=tuple(sorted(names, key=lambda name: name.split("/"))))

    @property
    def name(self) -> str:
        return self.path.rstrip("/").rpartition("/")[2]

    @property
    def files(self) -> list[str]:
        """Names that are in no sub-folder."""
        return [name for name in self.names if "/" not in name[len(self.path) :] and name != self.path]

    @property
    def folders(self) -> dict[str, "_Branch"]:
        """Sub-folders by name, empty ones too."""
        found: dict[str, list[str]] = defaultdict(list)
        for name in self.names:
            first, separator, _ = name[len(self.path) :].partition("/")
            if separator:
                found[first].append(name)
        return {first: _Branch.of(below, f"{self.path}{first}/") for first, below in found.items()}


@dataclass(kw_only=True)
class _Arrangement:
    """A listing in the making."""

    layout: str
    uri: str
    what: str
    left_out: list[LeftOut]
    sources: list[SourceImage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def add_plain(self, tree: _Branch) -> None:
        """Add every image as a good one."""
        self.add_images(tree, "train", "")
        self.require(tree)

    def add_splits(self, tree: _Branch) -> None:
        """Add the images of a layout with folders for train and test."""
        folders, good = tree.folders, _GOOD[self.layout]
        masks = self.mask_folder(folders)
        for split in ("train", "validation"):
            if branch := self.pick(folders, split):
                below = branch.folders
                if found := self.pick(below, good):
                    self.add_images(found, split, "")
                self.leave(branch.files, "folder", f"beside the folders, only those of {split}/{good} are read")
                for other in below.values():
                    self.leave(other.names, "folder", f"of the folders of {split} only {good} is read")
            if split == "train":
                self.require(tree, f"{split}/{good}")
        if branch := self.pick(folders, "test"):
            self.leave(branch.files, "folder", "in no folder that says whether it is good or which defect it has")
            self.add_tests(branch.folders, good, masks)
        self.finish_masks(masks)
        self.leave_rest(tree, folders)

    def add_folder(self, tree: _Branch) -> None:
        """Add the images of the layout `folder`, whose test split is yet to be drawn."""
        folders, good = tree.folders, _GOOD[self.layout]
        masks = self.mask_folder(folders)
        if found := self.pick(folders, good):
            self.add_images(found, "train", "", self.masks_of(good, folders, masks))
        self.require(tree, good)
        self.add_tests(folders, good, masks)
        self.finish_masks(masks)
        self.leave_rest(tree, {})

    def add_tests(self, folders: dict[str, _Branch], good: str, masks: dict[str, _Branch]) -> None:
        """Add the test images of some folders, with the masks of the folders of their names."""
        first = self.pick(folders, good)
        named = folders | ({good: first} if first else {})
        for name, branch in sorted(named.items()):
            marks = self.masks_of(name, folders, masks)
            before = len(self.sources)
            self.add_images(branch, "test", "" if branch is first else name, marks)
            if len(self.sources) == before:
                self.leave([branch.path], "empty", "a folder without images")

    def masks_of(self, name: str, defects: Mapping[str, _Branch], masks: dict[str, _Branch]) -> _Branch | None:
        """Take the masks of a defect: of its folder, of one that differs as `_plain` says, or of the only defect."""
        alike = [other for other in masks if _plain(other) == _plain(name) and other not in defects]
        found = [other for other in (name, *alike) if other in masks]
        if not found and list(defects) == [name] and "" in masks:
            found = [""]
        return masks.pop(found[0]) if found else None

    def add_images(self, branch: _Branch, split: str, defect: str, masks: _Branch | None = None) -> None:
        """Add the images below a folder, at any depth."""
        named: dict[str, str] = {}
        for name in images_of(branch.names, self.left_out):
            key = _key(name, branch)
            if key in named:
                both = f"{self.shown(named[key])} and {self.shown(name)}"
                raise InputError(f"{self.what}: {both} have the same name, {readable(key)}")
            named[key] = name
        marked = self.marked(masks, named, branch, defect) if masks else {}
        for key, name in named.items():
            if marked and defect and key not in marked:
                message = "no mask, while other images of this folder have one"
                raise InputError(f"image {self.shown(name)}: {message}")
            tail, found = readable(key).replace("/", "-"), tuple(marked.get(key, ()))
            self.sources.append(SourceImage(name=name, split=split, defect=defect, masks=found, tail=tail))

    def marked(self, masks: _Branch, images: Mapping[str, str], folder: _Branch, defect: str) -> dict[str, list[str]]:
        """Mask files by the key of their image."""
        found: dict[str, list[str]] = defaultdict(list)
        for path in (name.rstrip("/") for name in masks.names if name.endswith("/") and name != masks.path):
            if _key(f"{path}.", masks) in images:
                raise InputError(f"{self.what}: no images in {self.shown(path)}, expected the masks of one image")
        stems = _unique_stems(images)
        for name in images_of(masks.names, self.left_out):
            wanted = self.candidates(_key(name, masks))
            keys = [key for key in wanted if key in images] + [stems[key] for key in wanted if key in stems]
            if keys:
                found[keys[0]].append(name)
            elif defect:
                where = self.shown(folder.path.rstrip("/"))
                raise InputError(f"mask {self.shown(name)}: no image {readable(wanted[0])} in {where}")
            else:
                self.leave([name], "mask", "a mask without a good image")
        return found

    def candidates(self, key: str) -> list[str]:
        """Keys of the images that a mask of a key may belong to, the likeliest first."""
        own, parent = _MASK_SUFFIXES.get(self.layout, ""), key.rpartition("/")[0]
        stripped = [key.removesuffix(suffix) for suffix in (own, "", "_mask")]
        found = [parent, *stripped] if parent and self.layout == LOCO else [*stripped, parent]
        return list(dict.fromkeys(text for text in found if text))

    def mask_folder(self, folders: dict[str, _Branch]) -> dict[str, _Branch]:
        """Folders of masks by the name of the defect, taken out of the class folder's; of one that was plainly meant.

        Masks that lie in no folder stand under an empty name.
        """
        wanted = _MASK_FOLDERS.get(self.layout, "masks")
        found = [name for name in folders if _plain(name) == _plain(wanted)]
        found += sorted(name for name in folders if _plain(name) in _MASK_NAMES - {_plain(wanted)})
        if not found and self.layout != FOLDER:
            similar = difflib.get_close_matches(_plain(wanted), [_plain(name) for name in folders], 1, _SIMILAR)
            found = [name for name in folders if _plain(name) in similar]
        chosen = wanted if wanted in found else next(iter(found), None)
        if chosen is None:
            return {}
        branch = folders.pop(chosen)
        self.note(chosen, wanted)
        for other in found:
            if other != chosen:
                self.leave(folders.pop(other).names, "mask", f"the masks are those of {readable(chosen)}")
        loose = _Branch.of(branch.files, branch.path)
        return branch.folders | ({"": loose} if loose.names else {})

    def pick(self, folders: dict[str, _Branch], wanted: str) -> _Branch | None:
        """Take the folder of a name out of some; else one that differs in case, `-`, `_` and spaces; None without."""
        found = sorted(name for name in folders if _plain(name) == _plain(wanted))
        if not found:
            return None
        chosen = wanted if wanted in found else found[0]
        self.note(chosen, wanted)
        for other in found:
            if other != chosen:
                self.leave(folders.pop(other).names, "folder", f"{readable(chosen)} is read as {readable(wanted)}")
        return folders.pop(chosen)

    def finish_masks(self, masks: dict[str, _Branch]) -> None:
        """List the masks that are left."""
        for name, branch in masks.items():
            reason = f"no test images in a folder {readable(name)}" if name else "in no folder of a defect"
            self.leave(branch.names, "mask", reason)

    def leave_rest(self, tree: _Branch, folders: Mapping[str, _Branch]) -> None:
        """List the files and folders that have no place in the layout, but those that are read otherwise."""
        for name in tree.files:
            if self.layout == LOCO and name == DEFECTS_CONFIG:
                self.others.append(name)
            else:
                self.leave([name], "folder", f"beside the folders of the layout {self.layout}")
        for branch in folders.values():
            self.leave(branch.names, "folder", f"no folder of the layout {self.layout}")

    def leave(self, names: Iterable[str], kind: str, reason: str) -> None:
        """List names as left out; of empty folders those alone whose kind is `empty`."""
        self.left_out += [
            LeftOut(path=readable(name), kind=kind, reason=reason)
            for name in names
            if kind == "empty" or not name.endswith("/")
        ]

    def note(self, chosen: str, wanted: str) -> None:
        """Remember that a folder was read as another name."""
        if chosen != wanted:
            self.notes.append(f"the folder {readable(chosen)} is read as {readable(wanted)}")

    def require(self, tree: _Branch, folder: str = "") -> None:
        """Raise `InputError` unless there are good training images."""
        if self.sources:
            return
        where = f"{self.uri}/{folder}" if folder else self.uri
        known = {_plain(name[: len(folder)]) for name in tree.names}
        if folder and _plain(folder) not in known:
            raise InputError(f"{self.what}: {where} is not a folder")
        endings = sorted({PurePosixPath(name).suffix.lower() for name in tree.names} - IMAGE_SUFFIXES - {""})
        seen = f"; the other files end with {' '.join(endings)}" if endings else ""
        raise InputError(f"{self.what}: no images in {where}, expected {' '.join(sorted(IMAGE_SUFFIXES))}{seen}")

    def shown(self, name: str) -> str:
        """A name below the data set's address."""
        return f"{self.uri}/{readable(name)}"

    def listing(self) -> Listing:
        """The listing, in which every id is unique."""
        kinds = {(source.split, bool(source.defect)) for source in self.sources}
        return Listing(
            sources=_unique(self.sources),
            others=tuple(self.others),
            left_out=tuple(sorted(self.left_out, key=lambda found: found.path)),
            notes=tuple(dict.fromkeys(self.notes)),
            splits=self.layout != PLAIN and ("test", False) not in kinds,
        )


def _unique(sources: Sequence[SourceImage]) -> tuple[SourceImage, ...]:
    """Images whose ids are unique: of those that share one, each gets a digest of its name."""
    same: dict[str, int] = defaultdict(int)
    for source in sources:
        same[source.id] += 1
    return tuple(
        source
        if same[source.id] == 1
        else dataclasses.replace(source, tail=f"{source.tail}-{_name_digest(source.name)}")
        for source in sources
    )


def _name_digest(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:_HASH_LETTERS]


def _key(name: str, branch: _Branch) -> str:
    """Path below a folder without the ending, composed (NFC): what an image and its mask have in common."""
    return unicodedata.normalize("NFC", name[len(branch.path) :].rpartition(".")[0])


def _unique_stems(keys: Iterable[str]) -> dict[str, str]:
    """Keys of images in sub-folders by their last part, where it is the only one of its name."""
    found: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        found[key.rpartition("/")[2]].append(key)
    return {stem: same[0] for stem, same in found.items() if len(same) == 1}


def _plain(name: str) -> str:
    """A folder's name without case, `-`, `_` and spaces, composed (NFC)."""
    composed = unicodedata.normalize("NFC", name).casefold()
    return composed.translate({ord(letter): None for letter in "-_ "})
