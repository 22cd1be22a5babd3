"""S3 by a real server: what is published comes back, and errors name the URI and never a credential."""

import gzip
import hashlib
import io
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from components.artifacts import ImageSet, file_sha256
from components.dataset.config import Config
from components.dataset.ingest import ingest_dataset
from components.errors import InputError
from components.listing.opened import dataset_digest
from components.storage import s3
from components.storage.addresses import is_s3
from components.storage.connection import connect
from components.weights.fetch import fetch
from tests.components.trees import SIDE, noise, save, write_mvtec
from tests.faulty_proxy import proxy
from tests.ports import free_ports
from tests.s3_server import ACCESS_KEY, BUCKET, SECRET, S3Server, use_store

_LARGE_BYTES = 40 * 1024 * 1024


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
    s3.publish_file(path, f"{prefix}/model.safetensors")
    return f"{prefix}/model.safetensors#sha256={hashlib.sha256(content).hexdigest()}"


@pytest.mark.s3
def test_directory_comes_back_as_it_was_published(prefix: str, tmp_path: Path) -> None:
    folder = _write_files(tmp_path / "out", a="1", below__b="2", below__deeper__c="3", empty="")
    (folder / "name with ü & +.txt").write_text("4")
    (folder / "large.bin").write_bytes(os.urandom(_LARGE_BYTES))

    s3.publish_directory(folder, prefix)
    s3.fetch_prefix(prefix, tmp_path / "back")

    assert _files(tmp_path / "back") == _files(folder)
    (large,) = (item for item in s3.list_objects(prefix) if item.name == "large.bin")
    assert large.size == _LARGE_BYTES
    assert large.etag.endswith("-3")


@pytest.mark.s3
def test_objects_are_listed_by_name(prefix: str, tmp_path: Path) -> None:
    s3.publish_directory(_write_files(tmp_path, b="22", a__z="1", B="333"), f"{prefix}/")

    objects = s3.list_objects(prefix)

    assert [(item.name, item.size) for item in objects] == [("B", 3), ("a/z", 1), ("b", 2)]
    assert [item.key for item in objects] == [f"{prefix.rpartition('/')[2]}/{item.name}" for item in objects]


@pytest.mark.s3
def test_prefix_ends_at_its_own_folder(prefix: str, tmp_path: Path) -> None:
    s3.publish_directory(_write_files(tmp_path / "one", a="1"), f"{prefix}/part")
    s3.publish_directory(_write_files(tmp_path / "two", b="2"), f"{prefix}/part-2")

    assert [item.name for item in s3.list_objects(f"{prefix}/part")] == ["a"]


@pytest.mark.s3
def test_digest_does_not_depend_on_the_order_of_uploads(prefix: str, tmp_path: Path) -> None:
    folder = _write_files(tmp_path, a="1", b="2")
    s3.publish_directory(folder, f"{prefix}/forward")
    for name in ("b", "a"):
        s3.publish_file(folder / name, f"{prefix}/backward/{name}")

    assert s3.digest(f"{prefix}/forward") == s3.digest(f"{prefix}/backward")


@pytest.mark.s3
def test_thousands_of_objects_come_back_and_have_one_digest(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from minio import Minio

    folder = _write_files(tmp_path / "out", **{f"{index % 7}__{index:04d}": str(index) for index in range(1100)})
    s3.publish_directory(folder, prefix)

    digest = s3.fetch_prefix(prefix, tmp_path / "back")

    assert _files(tmp_path / "back") == _files(folder)
    assert digest == s3.digest(prefix)
    listing = Minio.list_objects
    monkeypatch.setattr(Minio, "list_objects", lambda *args, **options: reversed(list(listing(*args, **options))))
    assert s3.digest(prefix) == digest


@pytest.mark.s3
def test_another_size_of_parts_changes_the_digest_and_not_the_content(prefix: str, tmp_path: Path) -> None:
    content = os.urandom(12 * 1024 * 1024)
    digests = []
    for part_mib in (5, 6):
        bucket, key = s3.split_uri(f"{prefix}/a")
        connect().put_object(bucket, key, io.BytesIO(content), len(content), part_size=part_mib * 1024 * 1024)
        digests.append(s3.digest(prefix))
        s3.fetch_object(f"{prefix}/a", tmp_path / "a")
        assert (tmp_path / "a").read_bytes() == content

    assert digests[0] != digests[1]


def test_file_that_would_be_a_folder_too_is_refused() -> None:
    with pytest.raises(InputError, match="object 'a': there are objects below it"):
        s3._check_paths(["a", "a/b"])


@pytest.mark.s3
def test_compressed_object_comes_back_as_it_is_stored(prefix: str, tmp_path: Path) -> None:
    content = gzip.compress(b"image" * 1000)
    bucket, key = s3.split_uri(f"{prefix}/a.gz")
    encoded = {"Content-Encoding": "gzip"}
    connect().put_object(bucket, key, io.BytesIO(content), len(content), metadata=encoded)

    s3.fetch_object(f"{prefix}/a.gz", tmp_path / "a.gz")

    assert (tmp_path / "a.gz").read_bytes() == content


@pytest.mark.s3
def test_published_digest_is_known_without_a_fetch(prefix: str, tmp_path: Path) -> None:
    s3.publish_file(_write_files(tmp_path, a="1") / "a", f"{prefix}/a")

    assert s3.stored_sha256(f"{prefix}/a") == hashlib.sha256(b"1").hexdigest()
    assert s3.stored_sha256(f"{prefix}/b") is None


@pytest.mark.s3
def test_objects_are_there_until_their_prefix_is_removed(prefix: str, tmp_path: Path) -> None:
    s3.publish_directory(_write_files(tmp_path, part__a="1", part__below__b="2", part2="3"), prefix)
    assert s3.object_exists(f"{prefix}/part/a")
    assert not s3.object_exists(f"{prefix}/par")

    s3.remove_prefix(f"{prefix}/part")

    assert not s3.object_exists(f"{prefix}/part/a")
    assert [item.name for item in s3.list_objects(prefix)] == ["part2"]


@pytest.mark.parametrize("call", [s3.remove_prefix, s3.object_exists])
def test_whole_bucket_is_refused(call: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match="uri: got 's3://lines/', expected s3://BUCKET/"):
        call("s3://lines/")


@pytest.mark.s3
@pytest.mark.parametrize("names", [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("accesskey", "secretkey")])
def test_credentials_of_a_mounted_secret(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str]
) -> None:
    secret = _write_files(tmp_path / "secret", **{names[0]: f"{ACCESS_KEY}\n", names[1]: f"{SECRET}\n"})
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "that-of-the-environment")
    monkeypatch.setenv("S3_CREDENTIALS_DIR", str(secret))

    s3.publish_directory(_write_files(tmp_path / "out", a="1"), prefix)

    assert [item.name for item in s3.list_objects(prefix)] == ["a"]


@pytest.mark.s3
def test_bucket_in_the_host_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo

    def resolve_store(host: str, *args: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host.endswith("store.test") else host, *args, **options)

    server = S3Server(tmp_path / "server", domain="store.test")
    monkeypatch.setattr(socket, "getaddrinfo", resolve_store)
    try:
        server.start()
        with proxy(server.port) as between:
            host = f"store.test:{between.port}"
            use_store(monkeypatch, f"http://{host}")
            monkeypatch.setenv("S3_ADDRESSING", "virtual")
            s3.publish_directory(_write_files(tmp_path / "out", a="1"), f"s3://{BUCKET}/part")
            s3.fetch_prefix(f"s3://{BUCKET}/part", tmp_path / "back")
    finally:
        server.kill()

    assert _files(tmp_path / "back") == _files(tmp_path / "out")
    assert all(f"Host: {BUCKET}.{host}" in request for request in between.requests)
    assert between.gets()[-1].startswith("GET /part/a HTTP")


@pytest.mark.s3
def test_session_token_is_sent(prefix: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-a-session")
    with proxy(s3_server.port) as between:
        use_store(monkeypatch, between.endpoint)
        with pytest.raises((InputError, OSError)) as caught:
            s3.list_objects(prefix)

    assert "X-Amz-Security-Token: token-of-a-session" in between.requests[0]
    assert "token-of-a-session" not in str(caught.value)


@pytest.mark.s3
def test_data_set_that_changed_since_its_digest_is_not_ingested(prefix: str, tmp_path: Path) -> None:
    s3.publish_directory(write_mvtec(tmp_path / "part"), prefix)
    config = Config(uri=prefix, shots=2, image_size=SIDE)
    digest = dataset_digest(prefix)
    ingest_dataset(tmp_path / "before", config, digest)

    save(tmp_path / "more" / "train" / "good" / "new.png", noise(9))
    s3.publish_directory(tmp_path / "more", prefix)

    with pytest.raises(RuntimeError, match=rf"{prefix}: the data set changed after the run began"):
        ingest_dataset(tmp_path / "after", config, digest)
    assert not (tmp_path / "after").exists()


@pytest.mark.s3
@pytest.mark.parametrize("change", [{"a": "9"}, {"c": "1"}], ids=["another content", "one object more"])
def test_digest_changes_with_the_content(prefix: str, tmp_path: Path, change: dict[str, str]) -> None:
    s3.publish_directory(_write_files(tmp_path, a="1", b="2"), prefix)
    before = s3.digest(prefix)

    s3.publish_directory(_write_files(tmp_path, **change), prefix)

    assert s3.digest(prefix) != before


@pytest.mark.s3
@pytest.mark.usefixtures("prefix")
def test_bucket_is_created_once() -> None:
    assert s3.create_bucket("fresh-bucket")
    assert not s3.create_bucket("fresh-bucket")
    assert not s3.create_bucket(BUCKET)


@pytest.mark.parametrize("uri", ["s3://", "s3://lines/part", "lines", "https://lines"])
def test_uri_that_is_no_bucket_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match=f"bucket: got '{uri}', expected s3://BUCKET"):
        s3.bucket_of(uri)


@pytest.mark.s3
def test_missing_object_bucket_and_prefix_are_named(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"{prefix}/absent: not found in the object store \(NoSuchKey\)"):
        s3.fetch_object(f"{prefix}/absent", tmp_path / "file")
    for call in (s3.list_objects, lambda uri: s3.fetch_object(uri, tmp_path / "file")):
        with pytest.raises(InputError, match=r"s3://no-such-bucket/a: not found in the object store \(NoSuchBucket\)"):
            call("s3://no-such-bucket/a")
    with pytest.raises(InputError, match=rf"{prefix}: no objects below this prefix"):
        s3.fetch_prefix(prefix, tmp_path / "part")
    assert not list(tmp_path.iterdir())


@pytest.mark.s3
@pytest.mark.usefixtures("prefix")
def test_wrong_secret_is_bad_input_and_not_shown(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_store(monkeypatch, s3_server.endpoint, secret="wrong-secret-of-somebody")
    uri = f"s3://{BUCKET}/a"

    for call in (lambda: s3.list_objects(uri), lambda: s3.fetch_object(uri, tmp_path / "file")):
        with pytest.raises(InputError, match=rf"{uri}: the object store refused the credentials") as caught:
            call()
        assert "wrong-secret" not in str(caught.value)
        assert ACCESS_KEY not in str(caught.value)


def test_server_that_does_not_answer_is_no_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = free_ports(1)
    use_store(monkeypatch, f"http://127.0.0.1:{port}")

    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "2")

    with pytest.raises(OSError, match=r"s3://lines/a: .* did not answer after 2 attempts \(\w+\)") as caught:
        s3.list_objects("s3://lines/a")

    assert SECRET not in str(caught.value)
    assert ACCESS_KEY not in str(caught.value)
    assert not isinstance(caught.value, InputError)


@pytest.mark.s3
def test_weights_are_fetched_once_and_kept_by_digest(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))
    reference = _publish_weights(prefix, tmp_path / "model", b"weights")

    path = fetch(reference)

    assert path.read_bytes() == b"weights"
    assert path.parent == tmp_path / "cache" / "weights"
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:1")
    assert fetch(reference) == path


@pytest.mark.s3
def test_weights_with_another_digest_are_refused(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))
    reference = _publish_weights(prefix, tmp_path / "model", b"weights")
    _publish_weights(prefix, tmp_path / "model", b"changed")

    with pytest.raises(InputError, match=rf"sha256 of {prefix}/.* is {hashlib.sha256(b'changed').hexdigest()}"):
        fetch(reference)


@pytest.mark.s3
def test_missing_weights_are_named_and_leave_nothing(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))

    with pytest.raises(InputError, match=rf"{prefix}/model.safetensors: not found"):
        fetch(f"{prefix}/model.safetensors#sha256={'0' * 64}")

    assert not list((tmp_path / "cache" / "weights").iterdir())


@pytest.mark.s3
def test_class_folder_is_ingested_from_a_bucket(prefix: str, tmp_path: Path) -> None:
    root = write_mvtec(tmp_path / "part")
    s3.publish_directory(root, prefix)

    stored = ingest_dataset(tmp_path / "stored", Config(uri=prefix, shots=2, image_size=SIDE))
    local = ingest_dataset(tmp_path / "local", Config(uri=str(root), shots=2, image_size=SIDE))

    assert stored == local
    assert ImageSet(tmp_path / "stored").manifest.equals(ImageSet(tmp_path / "local").manifest)
    assert dataset_digest(prefix) == s3.digest(prefix)
    s3.publish_directory(_write_files(tmp_path / "more", notes="1"), prefix)
    assert dataset_digest(prefix) != s3.digest(prefix)
    assert ingest_dataset(tmp_path / "again", Config(uri=prefix, shots=2, image_size=SIDE)) == {**stored, "left_out": 1}


@pytest.mark.s3
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("test/bent/001.png", "image {key}: not an image"),
        ("ground_truth/bent/001_mask.png", "mask {key}: not an image"),
        ("ground_truth/bent/009_mask.png", "mask {key}: no image 009 in {prefix}/test/bent"),
    ],
)
def test_errors_about_objects_name_their_keys(prefix: str, tmp_path: Path, name: str, message: str) -> None:
    root = write_mvtec(tmp_path / "part")
    (root / name).write_text("no image")
    s3.publish_directory(root, prefix)

    with pytest.raises(InputError) as caught:
        ingest_dataset(tmp_path / "reference", Config(uri=prefix, shots=2, image_size=SIDE))

    assert str(caught.value).startswith(message.format(key=f"{prefix}/{name}", prefix=prefix))


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
    assert s3.split_uri(uri) == expected


@pytest.mark.parametrize("uri", ["s3://", "s3:///key", "lines/part", "https://host/lines", ""])
def test_uri_without_a_bucket_is_refused(uri: str) -> None:
    with pytest.raises(InputError, match="expected s3://BUCKET/KEY"):
        s3.split_uri(uri)


def test_object_without_a_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="uri: got 's3://lines', expected s3://BUCKET/KEY"):
        s3.fetch_object("s3://lines", tmp_path / "file")


@pytest.mark.parametrize(
    ("uri", "expected"), [("s3://a/b", True), ("S3://a/b", True), ("/a/s3://b", False), ("https://a", False)]
)
def test_object_stores_are_told_by_their_scheme(uri: str, expected: bool) -> None:
    assert is_s3(uri) is expected


@pytest.mark.parametrize("name", ["../secret", "a/../../b", "/etc/passwd", "..", "a//b", "./a"])
def test_object_name_that_leads_out_of_its_prefix_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="leads out of its prefix"):
        s3._check_paths(["a.png", name])


@pytest.mark.parametrize("name", ["a.png", "below/a..b.png", "..a"])
def test_object_name_inside_its_prefix_is_accepted(name: str) -> None:
    s3._check_paths([name])
