"""Where pretrained weights come from: package, hub, object store or local file, checked by sha256.

A reference to weights is a name of the manifest `weights.yaml`, or an address with its digest,
`ADDRESS#sha256=HEX`, where ADDRESS is a local path, `s3://BUCKET/KEY` or `https://...`.
"""

import importlib.util
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import yaml

from components.artifacts import file_sha256
from components.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

MANIFEST_PATH = Path(__file__).with_name("weights.yaml")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One weights file: where it is and what it must hold."""

    name: str
    """Name in the manifest, or the address itself."""
    uri: str
    """`package://`, `https://`, `s3://` or a local path."""
    sha256: str
    """Hex digest of the file."""
    licence: str
    """SPDX identifier, or `unknown` for a file that the user named."""


@cache
def manifest() -> Mapping[str, WeightsEntry]:
    """The entries of `weights.yaml` by name."""
    entries = yaml.safe_load(MANIFEST_PATH.read_text(encoding="utf-8"))
    return {name: WeightsEntry(name=name, **fields) for name, fields in entries.items()}


def resolve(reference: str) -> WeightsEntry:
    """Entry of a reference: a manifest name, or `ADDRESS#sha256=HEX`.

    Raises:
        InputError: the name is unknown, or the address has no valid digest.
    """
    if reference in manifest():
        return manifest()[reference]
    address, separator, digest = reference.partition("#sha256=")
    if not separator or not address:
        names = ", ".join(sorted(manifest()))
        raise InputError(f"weights: got {reference!r}, expected one of {names}, or ADDRESS#sha256=HEX")
    if not _DIGEST.fullmatch(digest):
        raise InputError(f"weights {address}: got digest {digest!r}, expected 64 lower-case hex digits")
    return WeightsEntry(name=address, uri=address, sha256=digest, licence="unknown")


def fetch(reference: str) -> Path:
    """Local path of the weights file of a reference, its digest verified.

    Files from a hub or an object store are kept in `VIGIL_CACHE` (default `~/.cache/vigil`) by digest.

    Raises:
        InputError: the file is missing, or its digest is another one.
        OSError: the hub or the object store cannot be reached.
    """
    entry = resolve(reference)
    scheme = urlsplit(entry.uri).scheme
    if scheme in ("https", "s3"):
        return _cached_download(entry, scheme)
    path = _package_path(entry.uri) if scheme == "package" else Path(entry.uri)
    if not path.is_file():
        raise InputError(f"weights {entry.name}: no file at {path}")
    _check_digest(entry, path)
    return path


def load_tensors(path: Path) -> "dict[str, Tensor]":
    """Named tensors of a safetensors file, a tensors-only PyTorch file or a TorchScript archive.

    Raises:
        InputError: the file is none of these; a pickle of other objects is never executed.
    """
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    return _load_torch(path)


def load_into(module: "nn.Module", tensors: "Mapping[str, Tensor]", name: str) -> None:
    """Load tensors into a module of the same architecture.

    Raises:
        InputError: a tensor is missing, left over or of another shape; names the first of them.
    """
    expected = module.state_dict()
    for key in [*expected, *(key for key in tensors if key not in expected)]:
        if key not in tensors:
            raise InputError(f"weights {name}: no tensor {key!r}, which {type(module).__name__} needs")
        if key not in expected:
            raise InputError(f"weights {name}: tensor {key!r} has no place in {type(module).__name__}")
        if expected[key].shape != tensors[key].shape:
            shapes = f"{list(tensors[key].shape)}, expected {list(expected[key].shape)}"
            raise InputError(f"weights {name}: tensor {key!r} has shape {shapes}")
    module.load_state_dict(dict(tensors))


def _package_path(uri: str) -> Path:
    package, _, inner = uri.removeprefix("package://").partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"weights {uri}: the Python package {package} is not installed")
    return Path(spec.submodule_search_locations[0]) / inner


def _check_digest(entry: WeightsEntry, path: Path) -> None:
    digest = file_sha256(path)
    if digest != entry.sha256:
        raise InputError(f"weights {entry.name}: sha256 of {path} is {digest}, expected {entry.sha256}")


def _cached_download(entry: WeightsEntry, scheme: str) -> Path:
    """Verified file of the cache, downloaded when it is missing or damaged."""
    root = Path(os.environ.get("VIGIL_CACHE", Path.home() / ".cache" / "vigil"))
    target = root / "weights" / f"{entry.sha256}{Path(urlsplit(entry.uri).path).suffix}"
    if target.is_file() and file_sha256(target) == entry.sha256:
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as directory:
        partial = Path(directory) / target.name
        _download(entry.uri, partial, scheme)
        _check_digest(entry, partial)
        partial.replace(target)
    return target


def _download(uri: str, path: Path, scheme: str) -> None:
    if scheme == "s3":
        from components.storage import fetch_object

        fetch_object(uri, path)
    else:
        import torch

        torch.hub.download_url_to_file(uri, str(path), progress=False)


def _load_safetensors(path: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise InputError(f"weights {path}: not a safetensors file ({error})") from error
    return tensors


def _load_torch(path: Path) -> "dict[str, Tensor]":
    import pickle

    import torch

    try:
        if _is_torchscript(path):
            return dict(torch.jit.load(path, map_location="cpu").state_dict())  # type: ignore[no-untyped-call]
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise InputError(f"weights {path}: not a file of tensors only; convert it to safetensors") from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else None
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise InputError(f"weights {path}: holds {type(content).__name__}, expected named tensors")
    return dict(tensors)


def _is_torchscript(path: Path) -> bool:
    import zipfile

    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())
