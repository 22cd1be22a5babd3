"""Opens a data set, local or in an object store: its listing, its digest, and its files on this machine."""

import hashlib
import logging
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from components.artifacts import file_sha256
from components.errors import InputError
from components.listing.files import readable, walk, without_clutter
from components.listing.layouts import Listing, SourceImage, arrange, hold_out
from components.storage import s3
from components.storage.addresses import address, is_s3

logger = logging.getLogger(__name__)

_SHOWN = 5
_CHANGED = ": the data set changed after the run began; run again"


class ImageCounts(NamedTuple):
    """Images of a data set by what they are read for."""

    train: int
    """Good images to be given."""
    test: int


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set whose listed files are on this machine."""

    uri: str
    """Its address, without a `/` at the end."""
    root: Path
    """Folder of its files, for the time that it is open."""
    listing: Listing

    def path(self, name: str) -> Path:
        """Where a file of the listing is."""
        return self.root / name

    def shown(self, name: str) -> str:
        """A file for messages: below the data set's address, be it a local path or an object's key."""
        return f"{self.uri}/{readable(name)}"

    def sources(self, test_fraction: float) -> tuple[SourceImage, ...]:
        """The images with their test split; see `hold_out`."""
        return hold_out(self.listing, test_fraction, lambda name: file_sha256(self.path(name)))


def dataset_digest(uri: str, layout: str = "mvtec") -> str:
    """Digest of the names and contents of what is read of a data set, the same in any listing order.

    What is left out is logged. A local folder is read; of an object store only names and entity tags are listed.
    `InputError` where it is missing or not in the layout.
    """
    uri = _bare(uri, "dataset")
    if is_s3(uri):
        objects, listing = _listed(uri, layout, "dataset")
        digest = s3.digest_of(objects)
    else:
        listing = _local(uri, layout, "dataset")
        digest = _local_digest(Path(uri), listing)
    log_left_out(listing)
    return digest


def _local_digest(root: Path, listing: Listing) -> str:
    names = sorted(listing.names, key=lambda name: name.split("/"))
    lines = (f"{name}\t{file_sha256(root / name)}" for name in names)
    return hashlib.sha256(os.fsencode("\n".join(lines))).hexdigest()


def count_images(uri: str, layout: str, test_fraction: float) -> ImageCounts:
    """Images of a data set by its listing alone; a test split that is yet to be drawn counts by its share.

    `InputError` where it is missing or not in the layout.
    """
    uri = _bare(uri, "dataset")
    listing = _listed(uri, layout, "dataset")[1] if is_s3(uri) else _local(uri, layout, "dataset")
    counts = Counter(source.split for source in listing.sources)
    held = round(test_fraction * counts["train"]) if listing.splits else 0
    return ImageCounts(train=counts["train"] - held, test=counts["test"] + held)


@contextmanager
def opened(
    uri: str,
    layout: str,
    what: str = "dataset",
    expected_digest: str = "",
    wanted: Callable[[Listing], Listing] = lambda found: found,
) -> Iterator[DataSet]:
    """Open a data set for the block's time; of an object store, what is read of it is fetched.

    Messages call it `what`. `wanted` chooses a part of the listing, which alone is fetched. Without an expected digest,
    which is taken by `dataset_digest` beforehand, what is left out is logged.

    Raises:
        InputError: it is missing or not in the layout.
        RuntimeError: it has another digest than the expected one; a local folder's is taken after the block.
    """
    uri = _bare(uri, what)
    if not is_s3(uri):
        listing = _local(uri, layout, what)
        if not expected_digest:
            log_left_out(listing)
        yield DataSet(uri=uri, root=Path(uri), listing=wanted(listing))
        if expected_digest and _local_digest(Path(uri), _local(uri, layout, what)) != expected_digest:
            raise RuntimeError(f"{uri}{_CHANGED}")
        return
    objects, listing = _listed(uri, layout, what)
    if not expected_digest:
        log_left_out(listing)
    elif s3.digest_of(objects) != expected_digest:
        raise RuntimeError(f"{uri}{_CHANGED}")
    chosen = wanted(listing)
    names = set(chosen.names)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "fetched"
        s3.fetch_objects([item for item in objects if item.name in names], root)
        yield DataSet(uri=uri, root=root, listing=chosen)


def log_left_out(listing: Listing) -> None:
    """Log what is left out of a data set, by its reason, and how names were read."""
    reasons: dict[str, list[str]] = defaultdict(list)
    for found in listing.left_out:
        reasons[found.reason].append(found.path)
    for reason, paths in reasons.items():
        more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
        logger.warning("left out %d (%s): %s%s", len(paths), reason, ", ".join(paths[:_SHOWN]), more)
    for note in listing.notes:
        logger.warning("%s", note)


def _local(uri: str, layout: str, what: str) -> Listing:
    root = Path(uri)
    if not root.is_dir():
        raise InputError(f"{what}: {uri} is not a folder")
    names, left_out = walk(root)
    return arrange(names, layout, uri, left_out, what)


def _listed(uri: str, layout: str, what: str) -> tuple[s3.Objects, Listing]:
    """The objects that are read of a data set, and its listing."""
    objects = s3.list_objects(uri)
    listing = arrange(without_clutter(item.name for item in objects), layout, uri, what=what)
    names = set(listing.names)
    return [item for item in objects if item.name in names], listing


def _bare(uri: str, name: str) -> str:
    found = address(uri, name)
    return found.rstrip("/") or os.sep
