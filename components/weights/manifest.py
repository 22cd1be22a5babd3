"""Manifests of weights: YAML of entries by name. A user's own is added to the package's by `VIGIL_WEIGHTS_MANIFEST`."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from components.artifacts import replacing
from components.errors import InputError, check, check_keys
from components.storage import hub, s3
from components.storage.addresses import is_s3

VARIABLE = "VIGIL_WEIGHTS_MANIFEST"
"""Environment variable with the path or `s3://BUCKET/KEY` of the user's manifest."""
FILE = "weights.yaml"
"""Name of the manifest that `vigil pretrain` writes."""

_REQUIRED = ("uri", "sha256", "licence")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
DIGEST = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"(package|https|hf|s3)://\S+|/.*")


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One weights file: where it is, what it must hold, and the figures that were measured when it was made."""

    name: str
    """Name in the manifest, or the address itself."""
    uri: str
    """`package://`, `https://`, `hf://`, `s3://` or a local path."""
    sha256: str
    licence: str
    """SPDX identifier, or `unknown` for a file that the user named."""
    figures: Mapping[str, str | int | float] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names = [key.value for key, _ in node.value]
        twice = sorted({str(name) for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"{twice[0]}: is there twice")
        return super().construct_mapping(node, deep)


def load_manifest(uri: str) -> dict[str, WeightsEntry]:
    """Entries of a manifest, a local path or `s3://BUCKET/KEY`, by name.

    Raises:
        InputError: there is no such file, or an entry is wrong.
        OSError: the object store cannot be reached.
    """
    if not is_s3(uri):
        check(Path(uri).is_file(), "weights manifest", uri, "a file, or s3://BUCKET/KEY")
        return parse_manifest(Path(uri).read_bytes(), uri)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / FILE
        s3.fetch_object(uri, path)
        return parse_manifest(path.read_bytes(), uri)


read_manifest = cache(load_manifest)
"""Entries of a manifest, read once in a process."""


def parse_manifest(content: bytes, name: str) -> dict[str, WeightsEntry]:
    """Entries of a manifest's YAML by name; `InputError` unless each is right and there once."""
    try:
        entries = yaml.load(content, _Loader) or {}  # noqa: S506 (a safe loader)
        check(isinstance(entries, dict), "content", type(entries).__name__, "entries by name")
        return {str(key): _entry(str(key), fields) for key, fields in entries.items()}
    except yaml.YAMLError as error:
        raise InputError(f"weights manifest {name}: not YAML: {' '.join(str(error).split())}") from error
    except InputError as error:
        raise InputError(f"weights manifest {name}: {error}") from error


def check_name(name: str) -> None:
    """Raise `InputError` unless a name can stand in a manifest."""
    check(bool(_NAME.fullmatch(name)), "name", name, "letters, digits, '.', '_' and '-'")


def add_entry(uri: str, entry: WeightsEntry) -> None:
    """Write an entry into a manifest, which is created where there is none; an earlier one of its name is replaced.

    The manifest is replaced as a whole. Of two processes that add to one at the same time, one may lose its entry.
    `InputError` when it is damaged or its bucket refuses access, `OSError` when the store or the disk fails.
    """
    entries = {**(load_manifest(uri) if exists(uri) else {}), entry.name: entry}
    content = {name: {key: value for key, value in asdict(found).items() if value} for name, found in entries.items()}
    for fields in content.values():
        del fields["name"]
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    if not is_s3(uri):
        with replacing(Path(uri)) as partial:
            partial.write_text(text, encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / FILE
        path.write_text(text, encoding="utf-8")
        s3.publish_file(path, uri)


def exists(uri: str) -> bool:
    """Whether there is a manifest, which is read as by `load_manifest`."""
    return s3.object_exists(uri) if is_s3(uri) else Path(uri).is_file()


def _entry(name: str, fields: Any) -> WeightsEntry:
    check_name(name)
    check(isinstance(fields, dict), name, fields, f"the keys {', '.join(_REQUIRED)}")
    check_keys(f"{name}.", fields, (*_REQUIRED, "figures"))
    for key in _REQUIRED:
        check(isinstance(fields.get(key), str) and bool(fields[key]), f"{name}.{key}", fields.get(key), "a text")
    uri, figures = fields["uri"], fields.get("figures", {})
    check(bool(_ADDRESS.fullmatch(uri)), f"{name}.uri", uri, "package://, https://, hf://, s3:// or an absolute path")
    if uri.startswith(("https://", "hf://")):
        hub.check_address(uri)
    check(bool(DIGEST.fullmatch(fields["sha256"])), f"{name}.sha256", fields["sha256"], "64 lower-case hex digits")
    plain = isinstance(figures, dict) and all(isinstance(value, str | int | float) for value in figures.values())
    check(plain, f"{name}.figures", figures, "texts and numbers by name")
    return WeightsEntry(name=name, **fields)
