"""Where pretrained weights come from: package, hub, object store or local file, checked by sha256.

A reference to weights is a name of the manifest `weights.yaml`, or of the user's that `VIGIL_WEIGHTS_MANIFEST` names,
or an address with its digest, `ADDRESS#sha256=HEX`, where ADDRESS is a local path, `file:///PATH`, `s3://BUCKET/KEY`,
`https://...` or `hf://ORG/REPO/FILE@REVISION`.
"""

import fcntl
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from components.artifacts import file_sha256, replacing
from components.errors import InputError, check
from components.storage import hub, s3
from components.storage.addresses import address as known_address
from components.storage.addresses import is_s3
from components.weights import mirror
from components.weights.manifest import DIGEST, VARIABLE, WeightsEntry, read_manifest

if TYPE_CHECKING:
    from torch import Tensor, nn

MANIFEST_PATH = Path(__file__).with_name("weights.yaml")
_PACKAGE = "package://"
_SCHEMES = ("https", "hf", "package")
_ADVICE = (
    ". A Lightning checkpoint holds other objects too, which are never unpickled here: where you trust it, "
    "torch.save(torch.load(FILE, weights_only=False)['state_dict'], 'tensors.pt') leaves the tensors"
)


def packaged() -> Mapping[str, WeightsEntry]:
    """The entries of `weights.yaml` by name."""
    return read_manifest(str(MANIFEST_PATH))


def manifest() -> Mapping[str, WeightsEntry]:
    """The entries of `weights.yaml`, and of the user's manifest, by name; no name may be in both.

    Raises:
        InputError: the user's manifest is missing or wrong.
        OSError: the object store that it is in cannot be reached.
    """
    uri = os.environ.get(VARIABLE, "")
    own = read_manifest(uri) if uri else {}
    for name in own:
        check(name not in packaged(), f"weights manifest {uri}: name", name, "one that VIGIL's own manifest has not")
    return {**packaged(), **own}


def pinned(reference: str) -> str:
    """A name of the user's manifest as `ADDRESS#sha256=HEX`; an address without `~` and `file://`; a name as it is.

    The project's version says what a name of `weights.yaml` means. What one of the user's means may change from run to
    run, and a result that is kept for later runs must not be found under a name alone. Errors are those of `manifest`.
    """
    address, separator, digest = reference.partition("#")
    if separator:
        return f"{known_address(address, 'weights', _SCHEMES)}#{digest}"
    if not reference or reference in packaged() or reference not in manifest():
        return reference
    entry = manifest()[reference]
    return f"{entry.uri}#sha256={entry.sha256}"


def resolve(reference: str) -> WeightsEntry:
    """Entry of a reference: a manifest name, or `ADDRESS#sha256=HEX`.

    Raises:
        InputError: the name is unknown, or the address is incomplete, has no valid digest or carries a credential.
    """
    if reference in packaged():
        return packaged()[reference]
    address, separator, digest = reference.partition("#sha256=")
    address = known_address(address, "weights", _SCHEMES)
    if _is_hub(address):
        hub.check_address(address)
    if not separator and reference in manifest():
        return manifest()[reference]
    if not separator or not address:
        names = ", ".join(sorted(manifest()))
        raise InputError(f"weights: got {reference!r}, expected one of {names}, or ADDRESS#sha256=HEX")
    if not DIGEST.fullmatch(digest):
        raise InputError(f"weights {address}: got digest {digest!r}, expected 64 lower-case hex digits")
    return WeightsEntry(name=address, uri=address, sha256=digest, licence="unknown")


def fetch(reference: str, *, from_origin: bool = False) -> Path:
    """Local path of the weights file of a reference, its digest verified.

    A file of this machine is used where it is. All others are kept in `VIGIL_CACHE` (default `~/.cache/vigil`) by
    digest, fetched by one process at a time when they are missing or damaged. Where `VIGIL_WEIGHTS_MIRROR` is set, they
    come from there alone, except `from_origin`.

    Raises:
        InputError: the file is missing, or its digest is another one.
        OSError: the hub or the object store cannot be reached.
    """
    entry = resolve(reference)
    mirrored = None if from_origin else mirror.mirror_uri()
    if path := local_path(entry):
        if not path.is_file():
            raise InputError(f"weights {entry.name}: no file at {path}")
        _check_digest(entry, path)
        return path
    target = cached_path(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target.parent):
        if not target.is_file() or file_sha256(target) != entry.sha256:
            with replacing(target) as incoming:
                _fetch_to(incoming, entry, mirrored)
    return target


def local_path(entry: WeightsEntry) -> Path | None:
    """Where a file of this machine is; None for one that is fetched, or that is in a package which is not installed."""
    if _is_hub(entry.uri) or is_s3(entry.uri):
        return None
    if not entry.uri.startswith(_PACKAGE):
        return Path(entry.uri)
    package, _, inner = entry.uri.removeprefix(_PACKAGE).partition("/")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0]) / inner


def cached_path(entry: WeightsEntry) -> Path:
    """Where a file that was fetched is kept."""
    root = Path(os.environ.get("VIGIL_CACHE", Path.home() / ".cache" / "vigil"))
    name = entry.uri.partition("@")[0] if entry.uri.startswith("hf://") else urlsplit(entry.uri).path
    return root / "weights" / f"{entry.sha256}{Path(name).suffix}"


def load_tensors(path: Path) -> "dict[str, Tensor]":
    """Named tensors of a safetensors file, a tensors-only PyTorch file or a TorchScript archive, else `InputError`.

    A pickle of other objects is never executed.
    """
    if path.suffix != ".safetensors":
        return _load_torch(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise InputError(f"weights {path}: not a safetensors file ({error})") from error
    return tensors


def load_into(module: "nn.Module", tensors: "Mapping[str, Tensor]", name: str) -> None:
    """Load tensors into a module; `InputError` names the first that is missing, left over or of another shape."""
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


def _is_hub(address: str) -> bool:
    return address.startswith(("https://", "hf://"))


def _check_digest(entry: WeightsEntry, path: Path) -> None:
    digest = file_sha256(path)
    if digest != entry.sha256:
        where = path if local_path(entry) else entry.uri
        raise InputError(f"weights {entry.name}: sha256 of {where} is {digest}, expected {entry.sha256}")


def _fetch_to(path: Path, entry: WeightsEntry, mirrored: str | None) -> None:
    if not mirrored and entry.uri.startswith(_PACKAGE):
        package = entry.uri.removeprefix(_PACKAGE).partition("/")[0]
        raise InputError(f"weights {entry.uri}: the Python package {package} is not installed (extra: generation)")
    if not mirrored and _is_hub(entry.uri):
        return hub.fetch_file(entry.uri, entry.sha256, path)
    if mirrored:
        mirror.fetch_mirrored(entry, mirrored, path)
    else:
        s3.fetch_object(entry.uri, path)
    return _check_digest(entry, path)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _load_torch(path: Path) -> "dict[str, Tensor]":
    import pickle
    import zipfile

    import torch

    try:
        names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
        if any(name.endswith("/constants.pkl") for name in names):  # TorchScript
            return dict(torch.jit.load(path, map_location="cpu").state_dict())  # type: ignore[no-untyped-call]
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise InputError(f"weights {path}: not a file of tensors only; convert it to safetensors{_ADVICE}") from error
    tensors = content.get("state_dict", content) if isinstance(content, dict) else None
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise InputError(f"weights {path}: holds {type(content).__name__}, expected named tensors")
    return dict(tensors)
