"""Object store and hubs through a real proxy of the environment, with a login that no message tells."""

import os
from hashlib import sha256
from pathlib import Path

import pytest

from components.errors import InputError
from components.storage import hub, s3
from components.storage.network import Proxy, proxy_of
from tests.forward_proxy import ForwardProxy, forward_proxy
from tests.hub_server import Hub, serve_hub
from tests.ports import free_ports
from tests.s3_server import S3Server

_LOGIN = "inspector:pass/word@1"
_QUOTED = "inspector:pass%2Fword%401"
_REFUSED = r"is not reached through the proxy .*, which refuses \(HTTP 407\)"
_CONTENT = os.urandom(3 * 1024 * 1024)


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch, short_pauses: None) -> None:
    """Fail at once."""
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")


def _fetch(served: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    monkeypatch.setenv("SSL_CERT_FILE", str(served.ca_file))
    hub.fetch_file(f"{served.address}/file", sha256(_CONTENT).hexdigest(), folder / "fetched")
    return (folder / "fetched").read_bytes()


def _assert_no_login(error: BaseException, proxy: ForwardProxy) -> None:
    text = f"{error} {error!r}"
    assert proxy.host in text
    assert not [part for part in ("inspector", "pass", "word") if part in text]


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_hub_is_reached_by_a_tunnel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with serve_hub({"/file": _CONTENT}, tmp_path) as served, forward_proxy(_LOGIN) as proxy:
        monkeypatch.setenv(name, f"http://{_QUOTED}@{proxy.host}")
        assert _fetch(served, tmp_path, monkeypatch) == _CONTENT
        assert proxy.passed == [f"CONNECT {served.address.removeprefix('https://')}"]


def test_host_of_no_proxy_is_reached_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve_hub({"/file": _CONTENT}, tmp_path) as served, forward_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.host)
        monkeypatch.setenv("NO_PROXY", "example.org, 127.0.0.1")
        assert _fetch(served, tmp_path, monkeypatch) == _CONTENT
    assert proxy.passed == []


@pytest.mark.s3
def test_store_is_reached_by_forwarding(
    s3_server: S3Server, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = os.urandom(20 * 1024 * 1024)
    (tmp_path / "source").write_bytes(content)
    with forward_proxy(_LOGIN) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"{_QUOTED}@{proxy.host}")
        s3.publish_file(tmp_path / "source", f"{prefix}/model")
        s3.fetch_object(f"{prefix}/model", tmp_path / "target")
    assert (tmp_path / "target").read_bytes() == content
    assert {call.split()[0] for call in proxy.passed} >= {"PUT", "POST", "HEAD", "GET"}
    assert all(f" {s3_server.endpoint}/" in call for call in proxy.passed)


@pytest.mark.s3
def test_store_behind_a_proxy_that_refuses_the_login_is_an_error(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "7")
    with forward_proxy("another:login") as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://{_QUOTED}@{proxy.host}")
        with pytest.raises(
            OSError, match=r"object store is not reached through the proxy .*, which refuses \(HTTP 407\)"
        ) as caught:
            s3.list_objects(prefix)
    _assert_no_login(caught.value, proxy)


def test_hub_behind_a_proxy_that_refuses_the_login_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "7")
    with serve_hub({"/file": _CONTENT}, tmp_path) as served, forward_proxy("another:login") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{_QUOTED}@{proxy.host}")
        with pytest.raises(
            OSError, match=r"the server is not reached through the proxy .*, which refuses \(HTTP 407\)"
        ) as caught:
            _fetch(served, tmp_path, monkeypatch)
    _assert_no_login(caught.value, proxy)


def test_proxy_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = ForwardProxy(port=free_ports(1)[0])
    monkeypatch.setenv("HTTPS_PROXY", f"http://{_QUOTED}@{proxy.host}")
    with serve_hub({"/file": _CONTENT}, tmp_path) as served:
        expected = rf"did not answer through the proxy {proxy.host} after 1 attempts \(ConnectError\)"
        with pytest.raises(OSError, match=expected) as caught:
            _fetch(served, tmp_path, monkeypatch)
    _assert_no_login(caught.value, proxy)


@pytest.mark.parametrize("address", ["socks5://inspector:word@host:1080", "http://inspector:word@", "inspector:word"])
def test_what_is_no_proxy_of_http_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("HTTPS_PROXY", address)
    with pytest.raises(
        InputError, match=r"HTTPS_PROXY: got no address of an HTTP proxy, expected http\(s\)://HOST:PORT"
    ) as caught:
        proxy_of("https://host/file")
    assert "word" not in str(caught.value)


def test_proxy_of_the_scheme_is_taken_and_shows_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{_QUOTED}@plain:3128")
    monkeypatch.setenv("NO_PROXY", "inside,.svc:9000")
    assert proxy_of("https://host/") is proxy_of("http://inside/") is proxy_of("http://store.svc:9000/") is None
    found = proxy_of("http://store.svc/")
    assert found == Proxy(address="http://plain:3128", login=_LOGIN)
    assert "word" not in repr(found)


@pytest.mark.parametrize(
    ("named", "address", "login"),
    [
        ("proxy", "http://proxy", None),
        ("https://proxy:3128/", "https://proxy:3128", None),
        ("http://[::1]:3128", "http://[::1]:3128", None),
        ("http://inspector:p#s/s?w@rd@proxy:3128", "http://proxy:3128", "inspector:p#s/s?w@rd"),
        ("http://inspector:%C5%91@proxy:3128", "http://proxy:3128", "inspector:\u0151"),
    ],
)
def test_login_is_told_from_the_address(
    monkeypatch: pytest.MonkeyPatch, named: str, address: str, login: str | None
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", named)
    assert proxy_of("https://host/file") == Proxy(address=address, login=login)
