"""A mirror of weights in the object store: each file under its sha256, and an index of where they are from.

With `VIGIL_WEIGHTS_MIRROR=s3://BUCKET/PREFIX` a run needs no other host: weights that are not on the machine come from
the mirror alone.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import storage
from components.artifacts import read_json, write_json
from components.errors import InputError, check

if TYPE_CHECKING:
    from components.weights_entry import WeightsEntry

VARIABLE = "VIGIL_WEIGHTS_MIRROR"
_INDEX = "index.json"


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
