"""`vigil buckets` on a real store: what it says, and its exit codes."""

import pytest

from components.storage import s3
from tests.pipelines.dags.test_training import run_blocked
from tests.pipelines.vigil import Done, Vigil, assert_refused
from tests.ports import free_ports
from tests.s3_server import S3Server, use_store


@pytest.mark.s3
@pytest.mark.usefixtures("prefix")
def test_missing_buckets_are_created_and_the_others_stay(vigil: Vigil) -> None:
    first = vigil("buckets", "create", "s3://line-data", "s3://line-weights")
    assert first == Done(code=0, out="s3://line-data: created\ns3://line-weights: created\n", err="")

    second = vigil("buckets", "create", "s3://line-weights", "s3://line-models/")
    assert second == Done(code=0, out="s3://line-weights: exists\ns3://line-models: created\n", err="")
    assert not s3.create_bucket("line-models")


@pytest.mark.s3
@pytest.mark.usefixtures("prefix")
def test_set_up_job_needs_no_heavy_library() -> None:
    done = run_blocked("buckets", "create", "s3://line-jobs")
    assert (done.returncode, done.stdout, done.stderr) == (0, "s3://line-jobs: created\n", "")


@pytest.mark.s3
def test_refused_credentials_are_bad_input(vigil: Vigil, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    use_store(monkeypatch, s3_server.endpoint, secret="wrong-secret")
    done = vigil("buckets", "create", "s3://line-data")
    assert_refused(done, "s3://line-data: the object store refused the credentials")
    assert "wrong-secret" not in done.err


@pytest.mark.parametrize("uri", ["line-data", "s3://line-data/prefix", "s3://"])
def test_argument_that_is_no_bucket_is_bad_input(vigil: Vigil, uri: str) -> None:
    assert_refused(vigil("buckets", "create", uri), f"bucket: got '{uri}', expected s3://BUCKET")


@pytest.mark.parametrize("name", ["Line_Data", "ab", "-lines", "a" * 64])
def test_name_that_no_bucket_may_have_is_bad_input(vigil: Vigil, name: str) -> None:
    assert_refused(vigil("buckets", "create", f"s3://{name}"), f"bucket: got '{name}', expected 3 to 63")


def test_store_out_of_reach_fails(vigil: Vigil, monkeypatch: pytest.MonkeyPatch) -> None:
    use_store(monkeypatch, f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "2")
    done = vigil("buckets", "create", "s3://line-data")
    assert done.code == 1
    assert done.err.startswith("error: s3://line-data: the object store did not answer")


def test_no_bucket_is_wrong_usage(vigil: Vigil) -> None:
    assert vigil("buckets", "create").code == 2
