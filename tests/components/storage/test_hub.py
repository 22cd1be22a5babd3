"""Files of a hub from a real HTTPS server: resumed, checked, redirected, and refused in one line."""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from components.errors import InputError
from components.storage import hub
from components.weights import fetch as weights
from tests.faulty_proxy import Busy, CutOff, proxy
from tests.hub_server import Hub, serve_hub

_CONTENT = os.urandom(3 * 1024 * 1024)
_DIGEST = sha256(_CONTENT).hexdigest()
_HF_PATH = "/org/model/resolve/v1/deep/model.safetensors"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one file, by TLS with a private CA."""
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "3")
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))
    with serve_hub({"/model.safetensors": _CONTENT, _HF_PATH: _CONTENT}, tmp_path) as made:
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca_file))
        yield made


def test_file_is_fetched_once_and_kept_by_digest(served: Hub) -> None:
    reference = f"{served.address}/model.safetensors#sha256={_DIGEST}"

    path = weights.fetch(reference)

    assert path.read_bytes() == _CONTENT
    assert path.name == f"{_DIGEST}.safetensors"
    assert weights.fetch(reference) == path
    assert len(served.tokens) == 1
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_file_that_broke_off_is_resumed(served: Hub, tmp_path: Path) -> None:
    served.between.fault = CutOff(1024 * 1024)

    hub.fetch_file(f"{served.address}/model.safetensors", _DIGEST, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == _CONTENT
    assert len(served.tokens) == 2


def test_file_is_resumed_by_the_next_call(served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")
    served.between.fault = CutOff(1024 * 1024)
    address = f"{served.address}/model.safetensors"
    with pytest.raises(OSError, match=rf"{address}: the server broke off after 1 attempts without progress"):
        hub.fetch_file(address, _DIGEST, tmp_path / "target")
    left = [path for path in tmp_path.iterdir() if path.name.endswith(".partial")]
    assert [path.stat().st_size > 0 for path in left] == [True]

    hub.fetch_file(address, _DIGEST, tmp_path / "target")

    assert (tmp_path / "target").read_bytes() == _CONTENT
    assert not left[0].exists()


def test_busy_server_is_asked_again(served: Hub, tmp_path: Path) -> None:
    served.between.fault = Busy("GET", times=2)

    hub.fetch_file(f"{served.address}/model.safetensors", _DIGEST, tmp_path / "file")

    assert (tmp_path / "file").read_bytes() == _CONTENT


def test_file_with_another_digest_is_bad_input_and_not_kept(served: Hub, tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()

    with pytest.raises(InputError, match=rf"model.safetensors: sha256 is {_DIGEST}, expected {'0' * 64}"):
        hub.fetch_file(f"{served.address}/model.safetensors", "0" * 64, tmp_path / "target" / "file")

    assert not list((tmp_path / "target").iterdir())


@pytest.mark.parametrize(
    ("path", "message"), [("/absent", r"not found \(HTTP 404\)"), ("/gated", r"refuses access \(HTTP 401\); HF_TOKEN")]
)
def test_file_that_is_not_to_be_had_is_bad_input(served: Hub, tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "target").mkdir()

    with pytest.raises(InputError, match=f"{served.address}{path}: .*{message}"):
        hub.fetch_file(f"{served.address}{path}", _DIGEST, tmp_path / "target" / "file")

    assert not list((tmp_path / "target").iterdir())


def test_hf_address_is_that_of_the_endpoint_and_its_token_stays_there(
    served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    monkeypatch.setenv("HF_TOKEN", "token-of-mine")
    with proxy(served.between.upstream, tls=served.between.tls) as elsewhere:
        served.redirects = {_HF_PATH: f"{elsewhere.endpoint}/model.safetensors"}
        path = weights.fetch(f"hf://org/model/deep/model.safetensors@v1#sha256={_DIGEST}")

    assert path.read_bytes() == _CONTENT
    assert path.suffix == ".safetensors"
    assert served.tokens == ["Bearer token-of-mine", None]


@pytest.mark.parametrize("target", ["http://127.0.0.1/file", "/model"])
def test_redirect_without_tls_or_end_is_an_error(served: Hub, tmp_path: Path, target: str) -> None:
    served.redirects = {"/model": target}

    with pytest.raises(OSError, match=r"/model: the server redirects (to an address without TLS|more than 5 times)"):
        hub.fetch_file(f"{served.address}/model", _DIGEST, tmp_path / "file")


def test_ca_that_is_not_named_is_not_trusted(served: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")

    with pytest.raises(OSError, match="the server has a certificate that is not trusted"):
        hub.fetch_file(f"{served.address}/model.safetensors", _DIGEST, tmp_path / "file")


@pytest.mark.parametrize(
    "address",
    ["https://user:secret@host/file", "https://host/file?X-Amz-Signature=secret", "https://host/file?token=secret"],
)
def test_address_with_a_credential_is_refused_and_not_shown(address: str) -> None:
    with pytest.raises(InputError, match="weights https://host/file: got credentials or a query") as caught:
        weights.resolve(f"{address}#sha256={_DIGEST}")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("address", ["hf://org/model/file", "hf://org/file@v1", "hf://org/model/file@", "https://host"])
def test_incomplete_address_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=f"weights: got '{address}', expected h"):
        weights.resolve(f"{address}#sha256={_DIGEST}")
