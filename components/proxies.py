"""Which proxy the environment names for an address: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.

As other programs read them: also in lower case, an address without a scheme is `http://`, and `NO_PROXY` lists hosts
and ends of host names, without ranges of addresses.
"""

import urllib.request
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from components.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy, its login apart from its address, which messages name."""

    address: str
    """`http(s)://HOST:PORT`."""
    login: str | None = field(repr=False)
    """`USER:PASSWORD`; None without one."""

    @property
    def host(self) -> str:
        """`HOST:PORT`."""
        return self.address.partition("://")[2]


def proxy_of(url: str) -> Proxy | None:
    """The proxy by which an address is reached; None when it is reached directly.

    Raises:
        InputError: what the environment names is no proxy of HTTP; the message holds no credential.
    """
    parts = urlsplit(url)
    proxies = urllib.request.getproxies()
    named = proxies.get(parts.scheme) or proxies.get("all")
    if not named or urllib.request.proxy_bypass(parts.netloc):
        return None
    return _parsed(named, parts.scheme)


def _parsed(named: str, scheme: str) -> Proxy:
    parts = urlsplit(named if "://" in named else f"http://{named}")
    login, _, host = parts.netloc.rpartition("@")
    if parts.scheme not in ("http", "https") or not host:
        raise InputError(f"{scheme.upper()}_PROXY: got a proxy of {parts.scheme!r}, expected http(s)://HOST:PORT")
    return Proxy(address=f"{parts.scheme}://{host}", login=unquote(login) if login else None)
