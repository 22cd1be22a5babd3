"""A mirror of weights in the object store: each file under its sha256, and an index of where they are from.

With `VIGIL_WEIGHTS_MIRROR=s3://BUCKET/PREFIX` a run needs no other host: weights that are not on the machine come from
the mirror alone. Every function raises `InputError` when the bucket is missing or the credentials are refused, and
`OSError` when the store cannot be reached.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from components.artifacts import read_json, write_json
from components.errors import InputError, check
from components.storage import s3
from components.storage.addresses import is_s3
from components.weights.manifest import DIGEST, WeightsEntry

VARIABLE = "VIGIL_WEIGHTS_MIRROR"
_INDEX = "index.json"


class Verified(NamedTuple):
    """A weights file's name, or else digest, its path or address, and its fault; empty where there is none."""

    name: str
    place: str
    fault: str


def mirror_uri() -> str | None:
    """The mirror of the environment; None without one, `InputError` unless it is a prefix of an object store."""
    uri = os.environ.get(VARIABLE, "").rstrip("/")
    check(not uri or is_s3(uri), VARIABLE, uri, "s3://BUCKET/PREFIX")
    return uri or None


def fetch_mirrored(entry: WeightsEntry, uri: str, path: Path) -> None:
    """Fetch a weights file from a mirror; the `InputError` of a missing one names the command that copies it there."""
    if not is_mirrored(entry, uri):
        raise InputError(
            f"weights {entry.name}: sha256 {entry.sha256} is not in the mirror {uri}; its origin was not tried, "
            f"because {VARIABLE} is set; `vigil weights mirror {uri}` copies weights there"
        )
    s3.fetch_object(f"{uri}/{entry.sha256}", path)


def is_mirrored(entry: WeightsEntry, uri: str) -> bool:
    """Whether a mirror has a weights file."""
    return s3.stored_sha256(f"{uri}/{entry.sha256}") == entry.sha256


def verify(entries: Iterable[WeightsEntry], uri: str) -> Iterator[Verified]:
    """Read every weights file of a mirror, those that are no entry's too, and compare it with its digest."""
    names = {entry.sha256: entry.name for entry in entries}
    there = {item.name for item in s3.list_objects(uri) if DIGEST.fullmatch(item.name)}
    for digest in dict.fromkeys([*names, *sorted(there)]):
        fault = "" if digest in there else "is missing"
        try:
            found = digest if fault else s3.read_object_sha256(f"{uri}/{digest}")
            fault = fault if found == digest else f"is damaged: sha256 is {found}, expected {digest}"
        except (InputError, OSError) as error:
            fault = str(error)
        yield Verified(names.get(digest, digest), f"{uri}/{digest}", fault)


def write_index(entries: Iterable[WeightsEntry], uri: str) -> None:
    """Add entries to the mirror's index, which is for people: names, licences and origins by sha256."""
    described = {e.sha256: {"name": e.name, "licence": e.licence, "source": e.uri} for e in entries}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / _INDEX
        known = read_index(uri, path)
        if {**known, **described} != known:
            write_json(path, {**known, **described})
            s3.publish_file(path, f"{uri}/{_INDEX}")


def read_index(uri: str, path: Path) -> Mapping[str, Any]:
    """Index of a mirror by sha256, empty for a new one; it is fetched to `path`. `InputError` if it is damaged."""
    if not s3.object_exists(f"{uri}/{_INDEX}"):
        return {}
    s3.fetch_object(f"{uri}/{_INDEX}", path)
    try:
        content: dict[str, Any] = read_json(path)
    except json.JSONDecodeError:
        raise InputError(f"{uri}/{_INDEX}: is no JSON; remove it and mirror again") from None
    return content
