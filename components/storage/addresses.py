"""Addresses of data: a folder, `~/FOLDER`, `file:///FOLDER` or `s3://BUCKET/PREFIX`; other schemes are refused."""

import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import unquote, urlsplit

from components.errors import InputError

S3 = "s3://"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


def address(text: str, name: str, others: Collection[str] = ()) -> str:
    """An address as it is used: a path without `~` and `file://`, or a scheme in lower case and what it names.

    `others` are schemes that are taken beside `s3`. Any further one, or the files of another machine, raise
    `InputError`, whose message calls the address `name`.
    """
    found = _SCHEME.match(text)
    if not found:
        return os.path.expanduser(text) if text.startswith("~") else text  # noqa: PTH111 (keeps a text as it is)
    scheme, rest = found[1].lower(), text[found.end() :]
    if scheme == "file":
        parts = urlsplit(f"file://{rest}")
        if parts.netloc not in ("", "localhost") or not parts.path:
            raise InputError(f"{name}: got {text!r}, expected file:///FOLDER of this machine")
        return unquote(parts.path, errors="surrogateescape")
    if scheme not in ("s3", *others):
        taken = ", ".join(f"{known}://" for known in ("s3", "file", *others))
        raise InputError(f"{name}: got {text!r}, expected a path or {taken}; {scheme}:// is not read")
    return f"{scheme}://{rest}"


def is_s3(text: str) -> bool:
    """Whether an address names an object store."""
    return text[: len(S3)].lower() == S3


def absolute(text: str, folder: Path) -> str:
    """An address of `address`, a path of which starts at a folder unless it is absolute."""
    return text if is_s3(text) else str((folder / text).resolve())
