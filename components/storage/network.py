"""What the object store and hubs share: limits, back-off, TLS with a private CA, proxies.

Limits by environment: `VIGIL_NET_ATTEMPTS` (7), `VIGIL_NET_TIMEOUT` (60 seconds without a byte, or for sending 16 MiB)
and `VIGIL_NET_DEADLINE` (3600 seconds for one file). Between attempts pass up to 16 seconds, so that a store may be
away for half a minute. Proxies by environment: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.
"""

import base64
import os
import random
import re
import ssl
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, ResponseError

from components.errors import InputError, check

CONNECTIONS = 8
"""Most connections to one host, and most objects that are transferred side by side."""
BUSY = (408, 429, 500, 502, 503, 504)
"""Status codes after which a later attempt may succeed."""

_FIRST_WAIT, _LONGEST_WAIT, _JITTER = 0.5, 16, 0.5
_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (4\d\d)")
_PROXY = re.compile(
    r"((?P<scheme>[a-z0-9+.-]+)://)?((?P<login>.*)@)?(?P<host>[^\s/@?#:]+(:\d+)?|\[[\da-fA-F:]+\](:\d+)?)/?"
)


class UnreachableError(Exception):
    """A transfer failed; the message says why, without the address."""


class Limits(NamedTuple):
    """How long a transfer may take before it is an error."""

    attempts: int
    """Of a request, and in a row of a transfer that did not get further."""
    timeout: float
    """Seconds without a byte."""
    deadline: float
    """Seconds for one file, all attempts together."""


def limits() -> Limits:
    """The limits of the environment; `InputError` for a value that is not a positive number."""
    values = []
    for name, default in (("VIGIL_NET_ATTEMPTS", "7"), ("VIGIL_NET_TIMEOUT", "60"), ("VIGIL_NET_DEADLINE", "3600")):
        text = os.environ.get(name, default)
        positive = re.fullmatch(r"\d+(\.\d*)?|\.\d+", text) is not None and float(text) > 0
        check(positive, name, text, "a positive number")
        values.append(float(text))
    return Limits(max(1, int(values[0])), *values[1:])


class Deadline:
    """The time by which one file must have been transferred."""

    def __init__(self) -> None:
        self._seconds = limits().deadline
        self._end = time.monotonic() + self._seconds

    def check(self) -> None:
        """Raise `UnreachableError` when the time is over."""
        if time.monotonic() > self._end:
            raise UnreachableError(f"did not send the file within {self._seconds:g} s (VIGIL_NET_DEADLINE)")


def wait_before(attempt: int) -> None:
    """Sleep before a further attempt, the first of which is number 2."""
    time.sleep(min(_FIRST_WAIT * 2 ** (attempt - 2), _LONGEST_WAIT) + random.random() * _JITTER)


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Context that trusts the system's CAs, or those of `SSL_CERT_FILE`, and those of a PEM file besides.

    Raises:
        InputError: a file is missing or holds no certificate.
    """
    context = ssl.create_default_context()
    for name, path in (("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE")), ("S3_CA_FILE", ca_file)):
        if path:
            check(Path(path).is_file(), name, path, "a PEM file of CA certificates")
            try:
                context.load_verify_locations(path)
            except ssl.SSLError:
                raise InputError(f"{name}: {path} holds no PEM certificate") from None
    return context


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy: `http(s)://HOST:PORT`, which messages name, and its login `USER:PASSWORD`, if any."""

    address: str
    login: str | None = field(repr=False)


def proxy_of(url: str) -> Proxy | None:
    """The proxy by which an address is reached; None when it is reached directly.

    Raises:
        InputError: what the environment names is no proxy of HTTP; the message holds no credential.
    """
    parts = urlsplit(url)
    named = urllib.request.getproxies()
    address = named.get(parts.scheme) or named.get("all")
    if not address or urllib.request.proxy_bypass(parts.netloc):
        return None
    found = _PROXY.fullmatch(address)
    if found is None or found["scheme"] not in (None, "http", "https"):
        raise InputError(f"{parts.scheme.upper()}_PROXY: got no address of an HTTP proxy, expected http(s)://HOST:PORT")
    login = unquote(found["login"]) if found["login"] else None
    return Proxy(address=f"{found['scheme'] or 'http'}://{found['host']}", login=login)


def way(url: str) -> str:
    """How messages name the proxy of an address; empty without one."""
    proxy = proxy_of(url)
    return f" through the proxy {proxy.address.partition('://')[2]}" if proxy else ""


def pool(url: str, ca_file: str | None = None) -> urllib3.PoolManager:
    """Connections to a store, by the environment's proxy, with urllib3's retries; redirects are not followed.

    Raises:
        InputError: a limit, a proxy or a CA file of the environment is wrong.
    """
    found, proxy = limits(), proxy_of(url)
    retries = _Retry(
        total=found.attempts - 1,
        redirect=False,
        allowed_methods=None,
        status_forcelist=BUSY,
        backoff_factor=_FIRST_WAIT,
        backoff_max=_LONGEST_WAIT,
        backoff_jitter=_JITTER,
        respect_retry_after_header=False,
    )
    options: dict[str, Any] = {"maxsize": CONNECTIONS, "timeout": urllib3.Timeout(found.timeout), "retries": retries}
    if url.startswith("https://"):
        options["ssl_context"] = tls_context(ca_file)
    if proxy is None:
        return urllib3.PoolManager(**options)
    if proxy.login:
        basic = base64.b64encode(proxy.login.encode()).decode()
        options["proxy_headers"] = {"Proxy-Authorization": f"Basic {basic}"}
    return urllib3.ProxyManager(proxy.address, **options)


def failure(error: HTTPError, url: str) -> str:
    """Why a request to a store failed, without the address, which may hold a signature."""
    cause = error.reason if isinstance(error, MaxRetryError) and error.reason else error
    shown = str(cause) if isinstance(cause, ResponseError) else type(cause).__name__
    return _refusal(cause, way(url)) or f"did not answer{way(url)} after {limits().attempts} attempts ({shown})"


class _Retry(urllib3.Retry):
    """Repeats no request to a server that is not trusted, nor by a proxy that refuses."""

    def increment(self, method: str | None = None, url: str | None = None, *rest: Any, **state: Any) -> Any:
        error = state.get("error")
        if error is not None and _refusal(error):
            raise MaxRetryError(state["_pool"], url or "", error)
        return super().increment(method, url, *rest, **state)


def _refusal(error: Exception, through: str = "") -> str | None:
    """Why no further attempt helps."""
    for cause in error.args:
        if isinstance(cause, ssl.SSLCertVerificationError):
            advice = "SSL_CERT_FILE or S3_CA_FILE names a CA"
            return f"has a certificate that is not trusted ({cause.verify_message}); {advice}"
        if tunnel := _REFUSED_TUNNEL.match(str(cause)):
            return f"is not reached{through}, which refuses (HTTP {tunnel[1]})"
    return None
