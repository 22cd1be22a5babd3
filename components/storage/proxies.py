"""Which proxy the environment names for an address: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`.

As other programs read them: also in lower case, an address without a scheme is `http://`, and `NO_PROXY` lists hosts
and ends of host names, without ranges of addresses.
"""

import base64
import re
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from components.errors import InputError

_ADDRESS = re.compile(
    r"((?P<scheme>[a-z0-9+.-]+)://)?((?P<login>.*)@)?(?P<host>[^\s/@?#:]+(:\d+)?|\[[\da-fA-F:]+\](:\d+)?)/?"
)


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

    def headers(self) -> dict[str, str]:
        """What it is sent with every request or tunnel."""
        if self.login is None:
            return {}
        return {"Proxy-Authorization": f"Basic {base64.b64encode(self.login.encode()).decode()}"}


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
    found = _ADDRESS.fullmatch(named)
    if found is None or found["scheme"] not in (None, "http", "https"):
        raise InputError(f"{scheme.upper()}_PROXY: got no address of an HTTP proxy, expected http(s)://HOST:PORT")
    login = unquote(found["login"]) if found["login"] else None
    return Proxy(address=f"{found['scheme'] or 'http'}://{found['host']}", login=login)
