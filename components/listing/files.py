"""Files of a data set by their names: the walk of a local folder, and what is no image and why."""

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from components.artifacts import require_directory

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".bmp", ".tif", ".tiff", ".webp"}
"""Endings, in lower case, of the files that count as images in a folder."""

_CLUTTER = {"thumbs.db", "desktop.ini", "@eadir", "__macosx"}
"""Files and folders, in lower case, that file managers and archives leave, beside hidden ones."""
_CONVERTED = {".heic", ".heif", ".avif", ".gif", ".jp2", ".jxl", ".dng", ".cr2", ".nef", ".arw", ".raw", ".svg", ".exr"}
"""Endings of images that are not read."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Something in a data set's folder that is not read."""

    path: str
    """Relative to the data set, readable: see `readable`."""
    kind: str
    """`ending`, `hidden`, `link`, `access`, `folder`, `empty` or `mask`."""
    reason: str


def walk(root: Path) -> tuple[list[str], list[LeftOut]]:
    """Names of all files below a folder, relative to it and with `/`, and what of it cannot be read.

    Links are followed, to places outside of the folder too, but not back to a folder that they are in. What tools leave
    (see `is_clutter`) is skipped. An empty folder stands as a name that ends with `/`. Names that are no UTF-8 hold
    surrogates, as Python's own functions on paths do. `InputError` where there is no such folder.
    """
    require_directory(root, "dataset")
    names, left_out = list[str](), list[LeftOut]()
    pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (_identity(root.stat()),))]
    while pending:
        prefix, above = pending.pop()
        try:
            entries = [entry for entry in os.scandir(root / prefix) if not is_clutter(entry.name)]
        except OSError as error:
            left_out.append(LeftOut(path=readable(prefix), kind="access", reason=f"cannot be read: {error.strerror}"))
            continue
        if not entries and prefix:
            names.append(prefix)
        for entry in entries:
            name = f"{prefix}{entry.name}"
            try:
                found = entry.stat()
            except OSError as error:
                reason = "a broken link" if entry.is_symlink() else f"cannot be read: {error.strerror}"
                left_out.append(LeftOut(path=readable(name), kind="link", reason=reason))
                continue
            if entry.is_dir() and _identity(found) in above:
                reason = "a link back to a folder that it is in"
                left_out.append(LeftOut(path=readable(name), kind="link", reason=reason))
            elif entry.is_dir():
                pending.append((f"{name}/", (*above, _identity(found))))
            elif entry.is_file():
                names.append(name)
            else:
                left_out.append(LeftOut(path=readable(name), kind="access", reason="neither a file nor a folder"))
    return sorted(names), left_out


def is_clutter(name: str) -> bool:
    """Whether a file or folder of this name is left by tools: `._x`, `.DS_Store`, hidden folders, `Thumbs.db`, ...

    A hidden image, which is no resource fork of macOS, is none: it is listed as left out.
    """
    if name.startswith(".") and not name.startswith("._"):
        return not is_image(name)
    return name.startswith("._") or name.lower() in _CLUTTER


def without_clutter(names: Iterable[str]) -> list[str]:
    """Names of an object store's listing without what `walk` skips, sorted."""
    return sorted(name for name in names if not any(is_clutter(part) for part in name.split("/") if part))


def is_image(name: str) -> bool:
    """Whether a file counts as an image, by its ending."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES


def images_of(names: Iterable[str], left_out: list[LeftOut]) -> list[str]:
    """The images of some names; the other ones are added to what is left out."""
    found = []
    for name in names:
        kind, reason = _no_image(name)
        if not kind:
            found.append(name)
        elif not name.endswith("/"):
            left_out.append(LeftOut(path=readable(name), kind=kind, reason=reason))
    return found


def _no_image(name: str) -> tuple[str, str]:
    """Why a file is not read as an image: a kind and a reason; empty texts for an image."""
    suffix = PurePosixPath(name).suffix.lower()
    if any(part.startswith(".") for part in name.split("/")):
        return "hidden", "a hidden file"
    if suffix in IMAGE_SUFFIXES:
        return "", ""
    if suffix in _CONVERTED:
        return "ending", f"images of the ending {suffix} are not read, convert them to PNG or JPEG"
    return "ending", f"no image: the ending is {suffix or 'missing'}, expected {' '.join(sorted(IMAGE_SUFFIXES))}"


def readable(name: str) -> str:
    """A name as text for tables and messages, composed (NFC): of a part that is no UTF-8, as Latin-1 reads it."""
    parts = []
    for raw in os.fsencode(name).split(b"/"):
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            text = raw.decode("latin-1")
        parts.append("".join(letter if letter.isprintable() else "?" for letter in text))
    return unicodedata.normalize("NFC", "/".join(parts))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino
