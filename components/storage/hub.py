"""Model hubs: `https://…` and `hf://ORG/REPO/FILE@REVISION`, fetched as carefully as objects of the store.

An `hf://` address is the file's address on the Hugging Face Hub or, by `HF_ENDPOINT`, on a copy of it; `HF_TOKEN` is
sent to that host only. A private CA is trusted by `SSL_CERT_FILE`.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from components.artifacts import file_sha256
from components.errors import InputError, check
from components.storage.network import Pool, UnreachableError, tls_context
from components.storage.transfer import CorruptError, Opened, discard_partials, fetch

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)/([^@]+)@([^@/]+)")
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
_REDIRECTS = {301, 302, 303, 307, 308}
_MOST_REDIRECTS = 5


def fetch_file(address: str, sha256: str, path: Path) -> None:
    """Fetch a file of a hub; what an interrupted fetch left beside it is continued.

    Args:
        address: `https://…` or `hf://ORG/REPO/FILE@REVISION`.
        sha256: hex digest that the file must have.
        path: appears when the file is complete and has the digest.

    Raises:
        InputError: there is no such file, access is refused, or the digest is another one.
        OSError: the hub cannot be reached, or the disk is full.
    """
    source = _Source(address, sha256)
    discard_partials(path, sha256)
    try:
        fetch(source, path, sha256)
    except UnreachableError as error:
        raise OSError(f"{address}: the server {error}") from None
    except CorruptError as error:
        raise InputError(f"{address}: {error}") from None


def check_address(address: str) -> None:
    """Raise `InputError` unless a hub's address is complete and carries no credential, which would be recorded."""
    if address.startswith("hf://"):
        expected = "hf://ORG/REPO/FILE@REVISION"
        check(bool(_ADDRESS.fullmatch(address)), "weights", address, expected)
        return
    parts = urlsplit(address)
    if parts.query or "@" in parts.netloc:
        bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise InputError(f"weights {bare}: got credentials or a query in the address, expected none: it is recorded")
    check(bool(parts.netloc) and len(parts.path) > 1, "weights", address, "https://HOST/PATH")


class _Source:
    """A file of a hub as the source of a transfer."""

    def __init__(self, address: str, sha256: str) -> None:
        self._address, self._sha256 = address, sha256
        self._url = _url(address)
        self._pool = Pool(tls_context())

    def open(self, offset: int) -> Opened | None:
        response = self._follow({"Range": f"bytes={offset}-"} if offset else {})
        if response.status == 416:
            response.close()
            return None
        if response.status not in (200, 206):
            response.close()
            raise _refusal(self._address, response.status)
        part = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if response.status == 206 and part is not None:
            return Opened(response=response, offset=min(int(part[1]), offset), size=int(part[2]))
        length = response.headers.get("Content-Length")
        return Opened(response=response, offset=0, size=int(length) if length else None)

    def check(self, path: Path) -> None:
        digest = file_sha256(path)
        if digest != self._sha256:
            raise CorruptError(f"sha256 is {digest}, expected {self._sha256}")

    def _follow(self, headers: dict[str, str]) -> "BaseHTTPResponse":
        """Get the file, through redirects to other hosts, which see no token."""
        url, home = self._url, urlsplit(self._url).netloc
        for _ in range(_MOST_REDIRECTS):
            token = _token(self._address) if urlsplit(url).netloc == home else {}
            response = self._pool.urlopen(
                "GET", url, headers={**headers, **token, "Accept-Encoding": "identity"}, preload_content=False
            )
            if response.status not in _REDIRECTS:
                return response
            response.drain_conn()
            url = urljoin(url, response.headers.get("Location", ""))
            if not url.startswith("https://"):
                raise OSError(f"{self._address}: the server redirects to an address without TLS")
        raise OSError(f"{self._address}: the server redirects more than {_MOST_REDIRECTS} times")


def _url(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        return address
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    check(endpoint.startswith("https://"), "HF_ENDPOINT", endpoint, "https://HOST")
    repository, file, revision = match.groups()
    return f"{endpoint}/{repository}/resolve/{quote(revision)}/{quote(file)}"


def _token(address: str) -> dict[str, str]:
    token = os.environ.get("HF_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token and address.startswith("hf://") else {}


def _refusal(address: str, status: int) -> Exception:
    if status in (401, 403):
        return InputError(f"{address}: the server refuses access (HTTP {status}); HF_TOKEN opens a gated model")
    if status in (404, 410):
        return InputError(f"{address}: not found (HTTP {status})")
    return OSError(f"{address}: the server answered HTTP {status}")
