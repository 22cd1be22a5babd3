"""Files of a hub from a real HTTPS server: resumed, checked, redirected, and refused in one line."""

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from components.errors import InputError
from components.storage import hub
from components.weights.fetch import fetch, resolve
from tests.faulty_proxy import Busy, CutOff, Flip, Trickle, proxy
from tests.hub_server import Hub, serve_hub

_CONTENT = os.urandom(20 * 1024 * 1024)
_DIGEST = sha256(_CONTENT).hexdigest()
_HF_PATH = "/org/model/resolve/v1/deep/model.safetensors"
_HF_ADDRESS = "hf://org/model/deep/model.safetensors@v1"
_KINDS = pytest.mark.parametrize("kind", ["https", "hf"])


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short_pauses: None) -> Iterator[Hub]:
    """A hub with one file, by TLS with a private CA; libraries are offline, as they are in a stage."""
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "3")
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with serve_hub({"/model.safetensors": _CONTENT, _HF_PATH: _CONTENT}, tmp_path) as made:
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca_file))
        monkeypatch.setenv("HF_ENDPOINT", made.address)
        yield made


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Where a file is fetched to; nothing else is in its folder."""
    (tmp_path / "target").mkdir()
    return tmp_path / "target" / "file"


def _address(served: Hub, kind: str) -> str:
    return _HF_ADDRESS if kind == "hf" else f"{served.address}/model.safetensors"


@_KINDS
def test_file_is_fetched_once_and_kept_by_digest(served: Hub, kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    reference = f"{_address(served, kind)}#sha256={_DIGEST}"

    path = fetch(reference)

    assert path.read_bytes() == _CONTENT
    assert path.name == f"{_DIGEST}.safetensors"
    assert fetch(reference) == path
    assert served.gets() == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert capfd.readouterr() == ("", "")


@_KINDS
def test_file_that_broke_off_is_resumed(served: Hub, target: Path, kind: str) -> None:
    served.between.fault = CutOff(18 * 1024 * 1024)

    hub.fetch_file(_address(served, kind), _DIGEST, target)

    assert target.read_bytes() == _CONTENT
    assert served.gets() == 2
    assert "range: bytes=" in served.between.gets()[-1].lower()


@_KINDS
def test_file_that_keeps_breaking_off_is_an_error_and_leaves_nothing(
    served: Hub, target: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")
    served.between.fault = CutOff(0, times=100)
    address = _address(served, kind)

    with pytest.raises(OSError, match=rf"{address}: the server did not answer after 1 attempts \(\w+Error\)") as caught:
        hub.fetch_file(address, _DIGEST, target)

    assert not isinstance(caught.value, InputError)
    assert not list(target.parent.iterdir())


@_KINDS
def test_busy_server_is_asked_again(served: Hub, target: Path, kind: str) -> None:
    served.between.fault = Busy("GET", times=2)

    hub.fetch_file(_address(served, kind), _DIGEST, target)

    assert target.read_bytes() == _CONTENT


@_KINDS
def test_trickle_is_an_error_when_the_deadline_is_over(
    served: Hub, target: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("VIGIL_NET_DEADLINE", "1")
    served.between.fault = Trickle(100_000, seconds=0.3)
    start = time.monotonic()

    with pytest.raises(OSError, match=r"the server did not send the file within 1 s \(VIGIL_NET_DEADLINE\)"):
        hub.fetch_file(_address(served, kind), _DIGEST, target)

    assert time.monotonic() - start < 20
    assert not list(target.parent.iterdir())


@_KINDS
def test_silence_is_an_error(served: Hub, target: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")
    monkeypatch.setenv("VIGIL_NET_TIMEOUT", "0.3")
    served.between.fault = Trickle(0, seconds=60)

    with pytest.raises(OSError, match=r"the server did not answer after 1 attempts \(ReadTimeout\)"):
        hub.fetch_file(_address(served, kind), _DIGEST, target)

    assert not list(target.parent.iterdir())


@_KINDS
def test_file_with_another_digest_is_bad_input_and_not_kept(served: Hub, target: Path, kind: str) -> None:
    address = _address(served, kind)
    digests = rf"sha256 is {_DIGEST}, expected {'0' * 64}|expected sha256:{'0' * 64} but got {_DIGEST}"

    with pytest.raises(InputError, match=f"{address}: .*({digests})"):
        hub.fetch_file(address, "0" * 64, target)

    assert not list(target.parent.iterdir())


@_KINDS
def test_damaged_file_is_bad_input_and_not_kept(served: Hub, target: Path, kind: str) -> None:
    served.between.fault = Flip(at=1024 * 1024, times=100)

    with pytest.raises(InputError, match=f"model.safetensors.*expected (sha256:)?{_DIGEST}"):
        hub.fetch_file(_address(served, kind), _DIGEST, target)

    assert not list(target.parent.iterdir())


@pytest.mark.parametrize(
    ("path", "message"),
    [("absent", r"not found \(HTTP 404\)"), ("gated", r"the server refuses access \(HTTP 401\); HF_TOKEN")],
)
@_KINDS
def test_unavailable_file_is_bad_input(served: Hub, target: Path, kind: str, path: str, message: str) -> None:
    address = f"hf://org/model/{path}@v1" if kind == "hf" else f"{served.address}/{path}"

    with pytest.raises(InputError, match=f"{address}: {message}"):
        hub.fetch_file(address, _DIGEST, target)

    assert not list(target.parent.iterdir())


def test_hf_address_is_that_of_the_endpoint_and_its_token_stays_there(
    served: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "token-of-mine")
    with proxy(served.between.upstream, tls=served.between.tls) as elsewhere:
        served.redirects = {_HF_PATH: f"{elsewhere.endpoint}/model.safetensors"}
        path = fetch(f"{_HF_ADDRESS}#sha256={_DIGEST}")
        hosts = {f"127.0.0.1:{served.between.port}": "Bearer token-of-mine", f"127.0.0.1:{elsewhere.port}": None}

    assert path.read_bytes() == _CONTENT
    assert path.suffix == ".safetensors"
    assert {(host, token) for _, host, token in served.received} == set(hosts.items())


def test_token_is_not_sent_to_other_servers(served: Hub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "token-of-mine")

    hub.fetch_file(f"{served.address}/model.safetensors", _DIGEST, target)

    assert [token for *_, token in served.received] == [None]


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://127.0.0.1/file", "redirects to an address without TLS"),
        ("/model", r"is no model hub, or redirects without end \(TooManyRedirects\)"),
    ],
)
def test_redirect_without_tls_or_end_is_an_error(served: Hub, target: Path, location: str, message: str) -> None:
    served.redirects = {"/model": location}

    with pytest.raises(OSError, match=f"/model: the server {message}"):
        hub.fetch_file(f"{served.address}/model", _DIGEST, target)


def test_hf_redirect_without_tls_is_an_error(served: Hub, target: Path) -> None:
    served.redirects = {_HF_PATH: "http://127.0.0.1/file"}

    with pytest.raises(OSError, match=f"{_HF_ADDRESS}: the server redirects to an address without TLS"):
        hub.fetch_file(_HF_ADDRESS, _DIGEST, target)


def test_ca_that_is_not_named_is_not_trusted(served: Hub, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(OSError, match="the server has a certificate that is not trusted; SSL_CERT_FILE names a CA"):
        hub.fetch_file(f"{served.address}/model.safetensors", _DIGEST, target)


def test_libraries_stay_offline_after_a_fetch(served: Hub, target: Path) -> None:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    hub.fetch_file(_HF_ADDRESS, _DIGEST, target)
    requests = len(served.received)

    with pytest.raises(LocalEntryNotFoundError):
        hf_hub_download("org/model", "config.json", endpoint=served.address, cache_dir=target.parent)
    assert len(served.received) == requests


@pytest.mark.parametrize(
    "address",
    ["https://user:secret@host/file", "https://host/file?X-Amz-Signature=secret", "https://host/file?token=secret"],
)
def test_address_with_a_credential_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(InputError, match="weights https://host/file: got credentials or a query") as caught:
        resolve(f"{address}#sha256={_DIGEST}")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["hf://org/model/file", "hf://org/file@v1", "hf://org/model/file@", "https://host"])
def test_incomplete_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=f"weights: got '{address}', expected h"):
        resolve(f"{address}#sha256={_DIGEST}")


def test_endpoint_without_tls_is_refused(target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://hub")

    with pytest.raises(InputError, match="HF_ENDPOINT: got 'http://hub', expected https://HOST"):
        hub.fetch_file(_HF_ADDRESS, _DIGEST, target)
