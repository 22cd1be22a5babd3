"""A real S3 server that is killed, slow, cut off or lies: a transfer ends complete, or in a clear error and no file."""

import hashlib
import io
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from components.errors import InputError
from components.storage import s3
from components.storage.connection import connect
from tests import disks
from tests.faulty_proxy import (
    Busy,
    CutOff,
    FailedCompletion,
    Fault,
    Flip,
    LostCompletion,
    Proxy,
    Trickle,
    ends_upload,
    private_ca,
    proxy,
)
from tests.s3_server import ACCESS_KEY, BUCKET, SECRET, S3Server, use_store

pytestmark = pytest.mark.s3

_MIB = 1024 * 1024


@pytest.fixture(autouse=True)
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up after about two seconds, and on a server that says nothing after ten."""
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "3")
    monkeypatch.setenv("VIGIL_NET_TIMEOUT", "10")


@pytest.fixture
def between(s3_server: S3Server, prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy in front of the server, which the environment points to."""
    with proxy(s3_server.port) as made:
        use_store(monkeypatch, made.endpoint)
        yield made


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[S3Server]:
    """A server that the test may kill."""
    server = S3Server(tmp_path / "server")
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _publish(tmp_path: Path, uri: str, size: int = 4 * _MIB) -> bytes:
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    s3.publish_file(tmp_path / "source", uri)
    return content


def _put_foreign(uri: str, content: bytes, part_bytes: int = 5 * _MIB) -> None:
    """Upload as any other tool does, without our metadata."""
    bucket, key = s3.split_uri(uri)
    connect().put_object(bucket, key, io.BytesIO(content), len(content), part_size=part_bytes)


def _assert_nothing_but_partials(folder: Path) -> None:
    assert not [path for path in folder.iterdir() if not path.name.endswith(".partial")]


def test_server_killed_in_mid_transfer_and_started_again(
    own_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "7")
    use_store(monkeypatch, own_server.endpoint)
    content = _publish(tmp_path, f"s3://{BUCKET}/model", 20 * _MIB)
    restart = threading.Timer(1, own_server.start)

    def crash() -> None:
        own_server.kill()
        restart.start()

    with proxy(own_server.port) as between:
        between.fault = CutOff(8 * _MIB, action=crash)
        use_store(monkeypatch, between.endpoint)
        s3.fetch_object(f"s3://{BUCKET}/model", tmp_path / "target" / "model")
        restart.join()

    assert between.fault.left == 0
    assert (tmp_path / "target" / "model").read_bytes() == content
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["model"]
    assert "Range: bytes=" in between.gets()[-1]


def test_server_killed_in_mid_transfer_for_good(
    own_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_store(monkeypatch, own_server.endpoint)
    content = _publish(tmp_path, f"s3://{BUCKET}/model", 20 * _MIB)
    target = tmp_path / "target" / "model"
    with proxy(own_server.port) as between:
        between.fault = CutOff(8 * _MIB, action=own_server.kill)
        use_store(monkeypatch, between.endpoint)
        with pytest.raises(
            OSError, match=r"s3://lines/model: the object store did not answer after 3 attempts"
        ) as caught:
            s3.fetch_object(f"s3://{BUCKET}/model", target)
    assert not isinstance(caught.value, InputError)
    _assert_nothing_but_partials(target.parent)

    own_server.start()
    with proxy(own_server.port) as between:
        use_store(monkeypatch, between.endpoint)
        s3.fetch_object(f"s3://{BUCKET}/model", target)

    (get,) = between.gets()
    assert "Range: bytes=" in get
    assert int(get.partition("Range: bytes=")[2].partition("-")[0]) > 4 * _MIB
    assert target.read_bytes() == content
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_server_killed_in_mid_upload_leaves_no_object(
    own_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class CrashAtSecondPart(Fault):
        def refuses(self, request: str) -> bool:
            if "partNumber=2" in request:
                own_server.kill()
            return False

    (tmp_path / "source").write_bytes(os.urandom(40 * _MIB))
    with proxy(own_server.port) as between:
        between.fault = CrashAtSecondPart()
        use_store(monkeypatch, between.endpoint)
        with pytest.raises(OSError, match=r"s3://lines/model: the object store did not answer after 3 attempts"):
            s3.publish_file(tmp_path / "source", f"s3://{BUCKET}/model")

    own_server.start()
    use_store(monkeypatch, own_server.endpoint)
    assert s3.stored_sha256(f"s3://{BUCKET}/model") is None


def test_connection_reset_in_mid_body_is_resumed(between: Proxy, prefix: str, tmp_path: Path) -> None:
    content = _publish(tmp_path, f"{prefix}/model")
    between.fault = CutOff(2 * _MIB, times=2)

    s3.fetch_object(f"{prefix}/model", tmp_path / "model")

    assert (tmp_path / "model").read_bytes() == content
    starts = [get.partition("Range: bytes=")[2].partition("-")[0] for get in between.gets()]
    assert starts[0] == ""
    assert [int(start) for start in starts[1:]] == sorted({int(start) for start in starts[1:]})


def test_progress_outlives_the_number_of_attempts(between: Proxy, prefix: str, tmp_path: Path) -> None:
    content = _publish(tmp_path, f"{prefix}/model", 16 * _MIB)
    between.fault = CutOff(4 * _MIB, times=3)

    s3.fetch_object(f"{prefix}/model", tmp_path / "model")

    assert between.fault.left == 0
    assert (tmp_path / "model").read_bytes() == content


def test_connection_that_always_breaks_off_is_an_error(between: Proxy, prefix: str, tmp_path: Path) -> None:
    _publish(tmp_path, f"{prefix}/model")
    between.fault = CutOff(1000, times=100)
    (tmp_path / "target").mkdir()

    with pytest.raises(OSError, match=rf"{prefix}/model: the object store (did not answer|broke off) after 3 attempts"):
        s3.fetch_object(f"{prefix}/model", tmp_path / "target" / "model")

    _assert_nothing_but_partials(tmp_path / "target")


def test_object_is_read_to_its_end_through_interruptions(between: Proxy, prefix: str, tmp_path: Path) -> None:
    content = _publish(tmp_path, f"{prefix}/model", 16 * _MIB)
    between.fault = CutOff(4 * _MIB, times=3)

    assert s3.read_object_sha256(f"{prefix}/model") == hashlib.sha256(content).hexdigest()

    assert between.fault.left == 0
    assert "Range: bytes=" in between.gets()[-1]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_busy_server_is_asked_again(between: Proxy, prefix: str, tmp_path: Path, method: str) -> None:
    content = _publish(tmp_path, f"{prefix}/model")
    between.fault = Busy(method, times=2)

    s3.fetch_object(f"{prefix}/model", tmp_path / "model")

    assert between.fault.left < 0 or method == "GET"
    assert (tmp_path / "model").read_bytes() == content


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_busy_server_is_sent_again(between: Proxy, prefix: str, tmp_path: Path, method: str) -> None:
    between.fault = Busy(method, times=2)

    content = _publish(tmp_path, f"{prefix}/model", 20 * _MIB)

    s3.fetch_object(f"{prefix}/model", tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == content


def test_upload_whose_last_answer_is_lost_is_found_stored(between: Proxy, prefix: str, tmp_path: Path) -> None:
    between.fault = LostCompletion()

    content = _publish(tmp_path, f"{prefix}/model", 20 * _MIB)

    assert between.fault.lost
    assert sum(map(ends_upload, between.requests)) == 2
    s3.fetch_object(f"{prefix}/model", tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == content


@pytest.mark.parametrize("blanks", ["", "\n \n"], ids=["at once", "after blanks"])
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "over another object"])
def test_upload_that_fails_in_a_successful_answer_is_sent_again(
    between: Proxy, prefix: str, tmp_path: Path, earlier: bool, blanks: str
) -> None:
    if earlier:
        _publish(tmp_path, f"{prefix}/model")
    between.fault = FailedCompletion(blanks=blanks)

    content = _publish(tmp_path, f"{prefix}/model", 20 * _MIB)

    assert sum(map(ends_upload, between.requests)) == 2
    s3.fetch_object(f"{prefix}/model", tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == content


def test_upload_that_keeps_failing_in_a_successful_answer_is_an_error(
    between: Proxy, prefix: str, tmp_path: Path
) -> None:
    between.fault = FailedCompletion(times=100)

    with pytest.raises(OSError, match=f"{prefix}/model: was not stored") as caught:
        _publish(tmp_path, f"{prefix}/model", 20 * _MIB)

    assert not isinstance(caught.value, InputError)
    assert s3.stored_sha256(f"{prefix}/model") is None


def test_answer_to_an_upload_may_take_its_time(
    between: Proxy, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_NET_DEADLINE", "1")
    between.fault = Trickle(0, seconds=0.005, method="POST")

    content = _publish(tmp_path, f"{prefix}/model", 20 * _MIB)

    assert sum(request.startswith("POST") for request in between.requests) == 2
    s3.fetch_object(f"{prefix}/model", tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == content


def test_server_that_stays_busy_is_an_error(between: Proxy, prefix: str, tmp_path: Path) -> None:
    between.fault = Busy("GET", times=100)

    with pytest.raises(
        OSError, match=rf"{prefix}: the object store did not answer after 3 attempts \(too many 503 error responses\)"
    ):
        s3.fetch_prefix(prefix, tmp_path / "target")

    assert not (tmp_path / "target").exists()


def test_trickle_is_an_error_when_the_deadline_is_over(
    between: Proxy, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(tmp_path, f"{prefix}/model")
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")
    monkeypatch.setenv("VIGIL_NET_DEADLINE", "3")
    between.fault = Trickle(100_000, seconds=1)
    (tmp_path / "target").mkdir()
    start = time.monotonic()

    with pytest.raises(OSError, match=rf"{prefix}/model: the object store did not send the file within 3 s"):
        s3.fetch_object(f"{prefix}/model", tmp_path / "target" / "model")

    assert time.monotonic() - start < 20
    assert between.gets()
    _assert_nothing_but_partials(tmp_path / "target")


def test_silence_is_an_error(between: Proxy, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _publish(tmp_path, f"{prefix}/model")
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")
    monkeypatch.setenv("VIGIL_NET_TIMEOUT", "5")
    between.fault = Trickle(0, seconds=30)

    with pytest.raises(OSError, match=r"did not answer after 1 attempts \(ReadTimeoutError\)"):
        s3.fetch_object(f"{prefix}/model", tmp_path / "model")

    assert between.gets()


@pytest.mark.parametrize("kind", ["ours", "one piece", "equal parts", "unequal parts"])
def test_damaged_body_is_fetched_again(between: Proxy, prefix: str, tmp_path: Path, kind: str) -> None:
    uri = f"{prefix}/model"
    content = _store_as(kind, uri, tmp_path)
    between.fault = Flip(at=_MIB)

    s3.fetch_object(uri, tmp_path / "model")

    assert between.fault.left == 0
    assert (tmp_path / "model").read_bytes() == content


@pytest.mark.parametrize("kind", ["ours", "one piece", "equal parts", "unequal parts"])
def test_body_that_stays_damaged_is_an_error(between: Proxy, prefix: str, tmp_path: Path, kind: str) -> None:
    uri = f"{prefix}/model"
    _store_as(kind, uri, tmp_path)
    between.fault = Flip(at=_MIB, times=100)
    (tmp_path / "target").mkdir()

    with pytest.raises(OSError, match=rf"{uri}: damaged: (sha256|MD5|MD5 of parts) is [0-9a-f-]+, expected [0-9a-f-]+"):
        s3.fetch_object(uri, tmp_path / "target" / "model")

    assert not list((tmp_path / "target").iterdir())


def _store_as(kind: str, uri: str, tmp_path: Path) -> bytes:
    content = os.urandom(12 * _MIB)
    if kind == "ours":
        return _publish(tmp_path, uri)
    if kind == "unequal parts":
        _put_parts(uri, content, [5 * _MIB, 6 * _MIB, _MIB])
    else:
        _put_foreign(uri, content, part_bytes=5 * _MIB if kind == "equal parts" else 16 * _MIB)
    return content


def _put_parts(uri: str, content: bytes, sizes: list[int]) -> None:
    from minio.datatypes import Part

    client, (bucket, key) = connect(), s3.split_uri(uri)
    upload, stream = client._create_multipart_upload(bucket, key, {}), io.BytesIO(content)
    parts = []
    for number, size in enumerate(sizes, 1):
        parts.append(Part(number, client._upload_part(bucket, key, stream.read(size), None, upload, number)))
    client._complete_multipart_upload(bucket, key, upload, parts)


def test_object_that_changes_between_attempts_is_fetched_anew(between: Proxy, prefix: str, tmp_path: Path) -> None:
    uri = f"{prefix}/model"
    _publish(tmp_path, uri)
    changed = os.urandom(5 * _MIB)
    between.fault = CutOff(2 * _MIB, action=lambda: _put_foreign(uri, changed))

    s3.fetch_object(uri, tmp_path / "target" / "model")

    assert between.fault.left == 0
    assert (tmp_path / "target" / "model").read_bytes() == changed
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["model"]


def test_object_that_changes_between_calls_is_fetched_anew(
    between: Proxy, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, target = f"{prefix}/model", tmp_path / "target" / "model"
    _publish(tmp_path, uri)
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")
    between.fault = CutOff(2 * _MIB)
    with pytest.raises(OSError, match="broke off after 1 attempts"):
        s3.fetch_object(uri, target)
    assert len(list(target.parent.iterdir())) == 1

    changed = _publish(tmp_path, uri)
    s3.fetch_object(uri, target)

    assert target.read_bytes() == changed
    assert [path.name for path in target.parent.iterdir()] == ["model"]


def test_data_set_that_changes_while_it_is_fetched_is_an_error(between: Proxy, prefix: str, tmp_path: Path) -> None:
    for name in "ab":
        _publish(tmp_path, f"{prefix}/{name}")
    between.fault = CutOff(2 * _MIB, action=lambda: _put_foreign(f"{prefix}/a", b"1"))

    class ChangeOnListing(Fault):
        def refuses(self, request: str) -> bool:
            if request.startswith(f"GET /{BUCKET}/") and "list-type" not in request and not self.changed:
                self.changed = True
                _put_foreign(f"{prefix}/b", b"1")
                _put_foreign(f"{prefix}/a", b"1")
            return False

        changed = False

    between.fault = ChangeOnListing()
    with pytest.raises(OSError, match=rf"{prefix}/[ab]: changed while it was fetched"):
        s3.fetch_prefix(prefix, tmp_path / "target")

    assert not (tmp_path / "target").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    with disks.small_disk(tmp_path / "disk", 2) as folder:
        yield folder


def _fetch(call: str, uri: str, folder: Path, most_bytes: int = resource.RLIM_INFINITY) -> str:
    """What a process says that fails to fetch to a folder, with a limit of the size of files."""
    uri, target = (f"{uri}/model", "target/model") if call == "fetch_object" else (uri, "target/set")
    script = f"from components.storage import s3; from pathlib import Path; s3.{call}({uri!r}, Path({target!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    return done.stderr


@pytest.mark.parametrize("call", ["fetch_object", "fetch_prefix"])
def test_no_space_is_an_error_and_leaves_nothing(prefix: str, tmp_path: Path, small_disk: Path, call: str) -> None:
    _publish(tmp_path, f"{prefix}/model")
    (small_disk / "target").mkdir()

    said = _fetch(call, prefix, small_disk)

    assert re.search(rf"No space left on device after \d+ of {4 * _MIB} bytes", said)
    assert not list((small_disk / "target").iterdir())


@pytest.mark.parametrize("call", ["fetch_object", "fetch_prefix"])
def test_limit_of_a_files_size_is_an_error_and_leaves_nothing(prefix: str, tmp_path: Path, call: str) -> None:
    _publish(tmp_path, f"{prefix}/model")
    (tmp_path / "target").mkdir()

    said = _fetch(call, prefix, tmp_path, most_bytes=_MIB)

    assert f"File too large after {_MIB} of {4 * _MIB} bytes" in said
    assert not list((tmp_path / "target").iterdir())


def test_private_ca_is_trusted_when_it_is_named(
    s3_server: S3Server, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _publish(tmp_path, f"{prefix}/model", 20 * _MIB)
    ca_file, context = private_ca(tmp_path)
    with proxy(s3_server.port, tls=context) as between:
        use_store(monkeypatch, between.endpoint)
        with pytest.raises(OSError, match=r"has a certificate that is not trusted .*S3_CA_FILE names a CA"):
            s3.list_objects(prefix)

        for variable in ("S3_CA_FILE", "SSL_CERT_FILE"):
            monkeypatch.setenv(variable, str(ca_file))
            s3.fetch_object(f"{prefix}/model", tmp_path / variable)
            s3.publish_file(tmp_path / variable, f"{prefix}/{variable}")
            monkeypatch.delenv(variable)
            assert (tmp_path / variable).read_bytes() == content


def test_credentials_and_signatures_are_in_no_message(
    between: Proxy, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import traceback

    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "token-of-a-session")
    calls: list[tuple[Fault, Callable[[], object]]] = [
        (Busy("GET", 1), lambda: s3.list_objects(prefix)),
        (CutOff(0), lambda: s3.list_objects(prefix)),
        (Fault(), lambda: s3.fetch_object(f"{prefix}/absent", tmp_path / "file")),
    ]
    for fault, call in calls:
        between.fault = fault
        with pytest.raises((OSError, InputError)) as caught:
            call()
        text = "".join(traceback.format_exception(caught.value))
        assert not [secret for secret in (ACCESS_KEY, SECRET, "token-of-a-session", "Signature") if secret in text]
