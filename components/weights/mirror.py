"""A mirror of weights in the object store: each file under its sha256, and an index of where they are from.

With `VIGIL_WEIGHTS_MIRROR=s3://BUCKET/PREFIX` a run needs no other host: weights that are not on the machine come from
the mirror alone.
"""

import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.artifacts import read_json, write_json
from components.errors import InputError, check
from components.storage import s3 as storage

if TYPE_CHECKING:
    from components.weights.entry import WeightsEntry

VARIABLE = "VIGIL_WEIGHTS_MIRROR"
_INDEX = "index.json"
_DIGEST = re.compile(r"[0-9a-f]{64}")


class Verified(NamedTuple):
    """What became of a weights file's verification."""

    name: str
    """Of the entry, or else the digest that the file is stored under."""
    place: str
    """Path or address; empty where there is none."""
    fault: str
    """Empty for a file that has its digest."""


def mirror_uri() -> str | None:
    """The mirror of the environment; None without one.

    Raises:
        InputError: it is no prefix of an object store.
    """
    uri = os.environ.get(VARIABLE, "").rstrip("/")
    if not uri:
        return None
    check(storage.is_s3(uri), VARIABLE, uri, "s3://BUCKET/PREFIX")
    return uri


def fetch_mirrored(entry: "WeightsEntry", uri: str, path: Path) -> None:
    """Fetch a weights file from a mirror.

    Raises:
        InputError: the mirror does not have it; the message names the command that copies it there.
        OSError: the store cannot be reached.
    """
    if not is_mirrored(entry, uri):
        raise InputError(
            f"weights {entry.name}: sha256 {entry.sha256} is not in the mirror {uri}; its origin was not tried, "
            f"because {VARIABLE} is set; `vigil weights mirror {uri}` copies weights there"
        )
    storage.fetch_object(_address(entry, uri), path)


def is_mirrored(entry: "WeightsEntry", uri: str) -> bool:
    """Whether a mirror has a weights file.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    return storage.stored_sha256(_address(entry, uri)) == entry.sha256


def verify(entries: "Iterable[WeightsEntry]", uri: str) -> Iterator[Verified]:
    """Read every weights file of a mirror, those that are no entry's too, and compare it with its digest.

    Raises:
        InputError: there is nothing in the mirror, the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached.
    """
    names = {entry.sha256: entry.name for entry in entries}
    there = {item.name for item in storage.list_objects(uri) if _DIGEST.fullmatch(item.name)}
    for digest in dict.fromkeys([*names, *sorted(there)]):
        fault = _fault(digest, uri) if digest in there else "is missing"
        yield Verified(names.get(digest, digest), f"{uri}/{digest}", fault)


def _fault(digest: str, uri: str) -> str:
    try:
        found = storage.read_object_sha256(f"{uri}/{digest}")
    except (InputError, OSError) as error:
        return str(error)
    return "" if found == digest else f"is damaged: sha256 is {found}, expected {digest}"


def publish(entry: "WeightsEntry", path: Path, uri: str) -> None:
    """Copy a weights file to a mirror.

    Raises:
        InputError: the bucket is missing, or the credentials are refused.
        OSError: the store cannot be reached, or stores something else than what was sent.
    """
    storage.publish_file(path, _address(entry, uri))


def write_index(entries: "Iterable[WeightsEntry]", uri: str) -> None:
    """Add entries to the mirror's index, which is for people: names, licences and origins by sha256.

    Raises:
        InputError: the bucket is missing, the credentials are refused, or the index is damaged.
        OSError: the store cannot be reached.
    """
    described = {e.sha256: {"name": e.name, "licence": e.licence, "source": e.uri} for e in entries}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / _INDEX
        known = read_index(uri, path)
        if {**known, **described} != known:
            write_json(path, {**known, **described})
            storage.publish_file(path, f"{uri}/{_INDEX}")


def read_index(uri: str, path: Path) -> Mapping[str, Any]:
    """Index of a mirror by sha256, empty for a new one; the file is fetched to `path`."""
    if not storage.object_exists(f"{uri}/{_INDEX}"):
        return {}
    storage.fetch_object(f"{uri}/{_INDEX}", path)
    try:
        content: dict[str, Any] = read_json(path)
    except json.JSONDecodeError:
        raise InputError(f"{uri}/{_INDEX}: is no JSON; remove it and mirror again") from None
    return content


def _address(entry: "WeightsEntry", uri: str) -> str:
    return f"{uri}/{entry.sha256}"
