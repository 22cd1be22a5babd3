"""HTTP that object store and model hubs share: retries with back-off, a least rate of reading, TLS with a private CA.

Limits by environment: `VIGIL_NET_ATTEMPTS` (7), `VIGIL_NET_TIMEOUT` (60 seconds without a byte), and
`VIGIL_NET_MIN_RATE` (1024 bytes per second) over `VIGIL_NET_WINDOW` (60 seconds). Between attempts pass 0.5, 1, 2, 4,
8, then 16 seconds, and up to half a second of jitter each, so a store may be away for about half a minute.
Requests go through the proxies that the environment names, see `components.proxies`.
"""

import io
import os
import re
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tenacity
import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, LocationValueError, SSLError

from components.errors import InputError, check
from components.storage.proxies import Proxy, proxy_of

CONNECTIONS = 8
"""Most connections to one host, and most objects that are transferred side by side."""

_FIRST_WAIT, _LONGEST_WAIT, _JITTER = 0.5, 16, 0.5
_CONNECT_SECONDS = 10
_SENT_AT_ONCE = 64 * 1024
_READ_BUFFER = 256 * 1024
_BUSY = {429, 500, 502, 503, 504}
_LOGIN_TO_PROXY = 407
_REFUSED_TUNNEL = re.compile(r"Tunnel connection failed: (4\d\d)")


class SlowError(Exception):
    """A body or a header arrives more slowly than the least rate."""


class BusyError(Exception):
    """The server answered that it cannot answer now."""


class RefusedError(Exception):
    """A proxy does not pass the request on, for want of a login or of a right."""


class UnreachableError(OSError):
    """No attempt got an answer; the message says how many there were and why the last one failed, and no address."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a transfer may take before it is an error."""

    attempts: int
    """Attempts of a request, and attempts in a row of a transfer that did not get further."""
    timeout: float
    """Seconds without a byte."""
    min_rate: float
    """Bytes per second that must arrive over a window."""
    window: float
    """Seconds."""


def limits() -> Limits:
    """The limits of the environment.

    Raises:
        InputError: a value is not a positive number.
    """
    return Limits(
        attempts=int(_positive("VIGIL_NET_ATTEMPTS", "7")),
        timeout=_positive("VIGIL_NET_TIMEOUT", "60"),
        min_rate=_positive("VIGIL_NET_MIN_RATE", "1024"),
        window=_positive("VIGIL_NET_WINDOW", "60"),
    )


def backoff() -> tenacity.wait_exponential_jitter:
    """Seconds between attempts."""
    return tenacity.wait_exponential_jitter(initial=_FIRST_WAIT, max=_LONGEST_WAIT, jitter=_JITTER)


def is_passing(error: BaseException) -> bool:
    """Whether a later attempt may succeed."""
    if isinstance(error, (SSLError, LocationValueError)):
        return isinstance(error, SSLError) and not _is_untrusted(error)
    return isinstance(error, (HTTPError, SlowError, BusyError))


def reason(error: BaseException) -> str:
    """Why an attempt failed, without the address, which may hold a signature."""
    return str(error) if isinstance(error, (SlowError, BusyError)) else type(error).__name__


def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """Context that trusts the system's CAs, or those of `SSL_CERT_FILE`, and those of a PEM file besides.

    Raises:
        InputError: a file is missing or holds no certificate.
    """
    context = ssl.create_default_context()
    for name, path in (("SSL_CERT_FILE", os.environ.get("SSL_CERT_FILE")), ("S3_CA_FILE", ca_file)):
        if path:
            check(Path(path).is_file(), name, path, "a PEM file of CA certificates")
            _trust(context, name, path)
    return context


class Pool(urllib3.PoolManager):
    """Connections whose every request is repeated while that may help, and whose every read has a least rate.

    A request's body must be bytes, so that it can be sent again. Redirects are returned, not followed.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._limits = limits()
        timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=self._limits.timeout)
        self._options: dict[str, Any] = {
            "maxsize": CONNECTIONS,
            "timeout": timeout,
            "retries": False,
            "ssl_context": tls,
        }
        super().__init__(**self._options)
        self.pool_classes_by_scheme = _POOLS
        self._proxied: dict[Proxy, urllib3.ProxyManager] = {}

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, redirect: bool = False, **options: Any
    ) -> urllib3.BaseHTTPResponse:
        """Send a request until it is answered.

        Raises:
            UnreachableError: no attempt was answered, the server's certificate is not trusted, or a proxy refuses.
            InputError: what the environment names is no proxy.
        """
        proxy = proxy_of(url)
        way = f" through the proxy {proxy.host}" if proxy else ""
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._limits.attempts),
            wait=backoff(),
            retry=tenacity.retry_if_exception(is_passing),
            reraise=True,
        )
        try:
            return retrying(self._attempt, proxy, method, url, **options)
        except RefusedError as error:
            raise UnreachableError(f"is not reached{way}, which refuses ({error})") from None
        except (HTTPError, SlowError, BusyError) as error:
            if isinstance(error, SSLError) and _is_untrusted(error):
                raise UnreachableError(_untrusted(error)) from None
            failure = f"did not answer{way} after {self._limits.attempts} attempts ({reason(error)})"
            raise UnreachableError(failure) from None

    def _attempt(self, proxy: Proxy | None, method: str, url: str, **options: Any) -> urllib3.BaseHTTPResponse:
        send = self._through(proxy).urlopen if proxy else super().urlopen
        try:
            response = send(method, url, redirect=False, **options)
        except HTTPError as error:
            if refused := _refused_tunnel(error):
                raise RefusedError(f"HTTP {refused}") from None
            raise
        if response.status in _BUSY:
            response.drain_conn()
            raise BusyError(f"HTTP {response.status}")
        if proxy and response.status == _LOGIN_TO_PROXY:
            response.drain_conn()
            raise RefusedError(f"HTTP {response.status}")
        return response

    def _through(self, proxy: Proxy) -> urllib3.ProxyManager:
        if proxy not in self._proxied:
            manager = urllib3.ProxyManager(proxy.address, proxy_headers=proxy.headers(), **self._options)
            manager.pool_classes_by_scheme = _POOLS
            self._proxied[proxy] = manager
        return self._proxied[proxy]


class _Reader(io.RawIOBase):
    """What a socket receives for one response, header and body, at no less than the least rate."""

    def __init__(self, raw: io.RawIOBase, limits: Limits) -> None:
        self._raw, self._limits = raw, limits
        self._received, self._waited = 0, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        start = time.monotonic()
        count = self._raw.readinto(buffer)
        self._waited += time.monotonic() - start
        self._received += count or 0
        if self._waited >= self._limits.window:
            self._check_rate()
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()

    def _check_rate(self) -> None:
        if self._received < self._limits.min_rate * self._waited:
            rate, window = self._limits.min_rate, self._limits.window
            raise SlowError(f"less than {rate:g} bytes a second over {window:g} s")
        self._received, self._waited = 0, 0.0


class _Socket:
    """A socket with a least rate of reading, while it is `paced`; what it sends has a time-out for each 64 KiB."""

    def __init__(self, sock: Any, limits: Limits) -> None:
        self._sock, self._limits = sock, limits
        self.paced = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)

    def makefile(self, mode: str) -> io.BufferedReader:
        raw = self._sock.makefile(mode, buffering=0)
        return io.BufferedReader(_Reader(raw, self._limits) if self.paced else raw, _READ_BUFFER)

    def sendall(self, content: bytes) -> None:
        view = memoryview(content)
        for start in range(0, len(view), _SENT_AT_ONCE):
            self._sock.sendall(view[start : start + _SENT_AT_ONCE])


class _HttpConnection(HTTPConnection):
    """A connection whose answers have a least rate.

    Those to a POST have none: while a store joins the parts of an upload, it sends a blank now and then.
    """

    def connect(self) -> None:
        super().connect()
        self.sock = _Socket(self.sock, limits())

    def putrequest(self, method: str, url: str, skip_host: bool = False, skip_accept_encoding: bool = False) -> None:
        self._paced = method != "POST"
        super().putrequest(method, url, skip_host=skip_host, skip_accept_encoding=skip_accept_encoding)

    def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override]
        self.sock.paced = self._paced  # type: ignore[union-attr]
        return super().getresponse()


class _HttpsConnection(_HttpConnection, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection


_POOLS = {"http": _HttpPool, "https": _HttpsPool}


def _positive(name: str, default: str) -> float:
    text = os.environ.get(name, default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    check(0 < value < float("inf"), name, text, "a positive number")
    return value


def _trust(context: ssl.SSLContext, name: str, path: str) -> None:
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise InputError(f"{name}: {path} holds no PEM certificate") from None


def _refused_tunnel(error: HTTPError) -> str | None:
    """Status by which a proxy refused a tunnel for good."""
    found = [match[1] for cause in error.args if (match := _REFUSED_TUNNEL.match(str(cause)))]
    return found[0] if found else None


def _is_untrusted(error: SSLError) -> bool:
    return any(isinstance(cause, ssl.SSLCertVerificationError) for cause in error.args)


def _untrusted(error: SSLError) -> str:
    (cause, *_) = (cause for cause in error.args if isinstance(cause, ssl.SSLCertVerificationError))
    return f"has a certificate that is not trusted ({cause.verify_message}); SSL_CERT_FILE or S3_CA_FILE names a CA"
