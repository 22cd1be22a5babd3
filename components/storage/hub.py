"""Model hubs: `https://HOST/PATH` and `hf://ORG/REPO/FILE@REVISION`, by huggingface_hub and pooch, checked by sha256.

An `hf://` address is the file's address on the Hugging Face Hub or, by `HF_ENDPOINT`, on a copy of it; `HF_TOKEN` is
sent to that host only. A private CA is trusted by `SSL_CERT_FILE`. No request goes to an address without TLS.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from components.errors import InputError, check
from components.storage.network import BUSY, Deadline, UnreachableError, limits, tls_context, wait_before, way

if TYPE_CHECKING:
    from httpx2 import Client

_HF = re.compile(r"hf://([\w.-]+/[\w.-]+)/([^@]+)@([^@/]+)")


def fetch_file(address: str, sha256: str, path: Path) -> None:
    """Fetch a hub's file, which appears at `path` when it is complete and has the digest; continue one that breaks off.

    Raises:
        InputError: there is no such file, access is refused, or the digest is another one.
        OSError: the hub cannot be reached, or the disk is full.
    """
    check_address(address)
    endpoint = address
    if address.startswith("hf://"):
        endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        check(endpoint.startswith("https://"), "HF_ENDPOINT", endpoint, "https://HOST")
    attempt = 1
    with _session():
        while True:
            try:
                return _fetch(address, endpoint, sha256, path)
            except UnreachableError as error:
                raise OSError(f"{address}: the server {error}") from None
            except _TransientError as error:
                if attempt == limits().attempts:
                    message = f"did not answer{way(endpoint)} after {attempt} attempts ({error})"
                    raise OSError(f"{address}: the server {message}") from None
            attempt += 1
            wait_before(attempt)


def check_address(address: str) -> None:
    """Raise `InputError` unless a hub's address is complete and carries no credential, which would be recorded."""
    if address.startswith("hf://"):
        return check(bool(_HF.fullmatch(address)), "weights", address, "hf://ORG/REPO/FILE@REVISION")
    parts = urlsplit(address)
    if parts.query or "@" in parts.netloc:
        bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        raise InputError(f"weights {bare}: got credentials or a query in the address, expected none: it is recorded")
    return check(bool(parts.netloc) and len(parts.path) > 1, "weights", address, "https://HOST/PATH")


class _TransientError(Exception):
    """A later attempt may succeed."""


def _fetch(address: str, endpoint: str, sha256: str, path: Path) -> None:
    import pooch
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get

    url, headers = address, {"Accept-Encoding": "identity"}
    if found := _HF.fullmatch(address):
        repository, file, revision = found.groups()
        url = hf_hub_url(repository, file, revision=revision, endpoint=endpoint)
        if token := os.environ.get("HF_TOKEN"):
            headers["Authorization"] = f"Bearer {token}"

    def download(_: str, target: str, __: object) -> None:
        with Path(target).open("wb") as body, _failures(address, endpoint):
            http_get(url, body, headers=headers)

    pooch.get_logger().setLevel("WARNING")
    try:
        pooch.retrieve(url, f"sha256:{sha256}", fname=path.name, path=path.parent, downloader=download)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{address}: {error}") from None


@contextmanager
def _session() -> Iterator[None]:
    """Give huggingface_hub connections of ours for the block, and then its own again."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils._http import default_client_factory
    from huggingface_hub.utils.logging import set_verbosity_error
    from huggingface_hub.utils.tqdm import disable_progress_bars

    set_verbosity_error()  # type: ignore[no-untyped-call]  # its warnings show addresses with signatures
    disable_progress_bars()
    set_client_factory(partial(_client, Deadline()))
    try:
        yield
    finally:
        set_client_factory(default_client_factory)


def _client(deadline: Deadline) -> "Client":
    """A client that uses TLS only and keeps the limits.

    `HF_HUB_OFFLINE` keeps a stage's libraries from the network; a file that the user named is fetched nevertheless.
    """
    import httpx2

    seconds = limits().timeout

    class Bounded(httpx2.SyncByteStream):
        def __init__(self, stream: httpx2.SyncByteStream) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            try:
                for chunk in self._stream:
                    deadline.check()
                    yield chunk
            except httpx2.ReadError as error:  # huggingface_hub continues after a protocol's error only
                raise httpx2.RemoteProtocolError(str(error)) from None

        def close(self) -> None:
            self._stream.close()

    def before(request: httpx2.Request) -> None:
        deadline.check()
        if request.url.scheme != "https":
            raise UnreachableError("redirects to an address without TLS")
        request.extensions["timeout"] = httpx2.Timeout(seconds).as_dict()

    def after(response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = Bounded(response.stream)

    hooks: dict[str, list[Callable[..., Any]]] = {"request": [before], "response": [after]}
    return httpx2.Client(event_hooks=hooks, follow_redirects=True, verify=tls_context())


@contextmanager
def _failures(address: str, endpoint: str) -> Iterator[None]:
    """Turn the errors of huggingface_hub and its HTTP client into ours, which show no redirected address."""
    from httpx2 import HTTPError, ProxyError, TooManyRedirects

    try:
        yield
    except HTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status in (401, 403):
            refused = f"the server refuses access (HTTP {status}); HF_TOKEN opens a gated model"
            raise InputError(f"{address}: {refused}") from None
        if status in (404, 410):
            raise InputError(f"{address}: not found (HTTP {status})") from None
        if status is not None and status not in BUSY:
            raise UnreachableError(f"answered HTTP {status}") from None
        if isinstance(error, TooManyRedirects):
            raise UnreachableError("is no model hub, or redirects without end (TooManyRedirects)") from None
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise UnreachableError("has a certificate that is not trusted; SSL_CERT_FILE names a CA") from None
        if isinstance(error, ProxyError) and (answer := re.match(r"4\d\d", str(error))):
            raise UnreachableError(f"is not reached{way(endpoint)}, which refuses (HTTP {answer[0]})") from None
        raise _TransientError(f"HTTP {status}" if status else type(error).__name__) from None
