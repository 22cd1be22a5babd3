"""The settings of the environment: what is accepted, and that no message holds a credential."""

from pathlib import Path

import pytest

from components.errors import InputError
from components.storage.connection import settings


def test_settings_without_an_environment_are_those_of_aws() -> None:
    found = settings()

    assert (found.host, found.secure, found.region, found.addressing) == (
        "s3.amazonaws.com",
        True,
        "us-east-1",
        "auto",
    )
    assert (found.access_key, found.secret_key, found.session_token, found.ca_file) == (None, None, None, None)


def test_settings_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "S3_ENDPOINT": "http://store:9000/",
        "AWS_REGION": "eu-north-1",
        "S3_ADDRESSING": "path",
        "S3_CA_FILE": "/etc/ca.pem",
        "AWS_ACCESS_KEY_ID": "key-of-mine",
        "AWS_SECRET_ACCESS_KEY": "secret-of-mine",
        "AWS_SESSION_TOKEN": "token-of-mine",
    }.items():
        monkeypatch.setenv(name, value)

    found = settings()

    assert (found.host, found.secure, found.region, found.addressing) == ("store:9000", False, "eu-north-1", "path")
    assert (found.access_key, found.secret_key, found.session_token) == (
        "key-of-mine",
        "secret-of-mine",
        "token-of-mine",
    )
    assert "of-mine" not in repr(found)


@pytest.mark.parametrize(
    "endpoint", ["localhost:9000", "ftp://host", "http://", "", "http://host/path", "http://h?a=b"]
)
def test_endpoint_that_is_no_address_is_refused(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT", endpoint)

    with pytest.raises(InputError, match=r"S3_ENDPOINT: got '.*', expected http\(s\)://HOST:PORT"):
        settings()


def test_endpoint_with_credentials_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ENDPOINT", "http://user:password@store:9000")

    with pytest.raises(InputError, match=r"S3_ENDPOINT: got 'http://store:9000', expected .*, without credentials"):
        settings()


@pytest.mark.parametrize(
    ("given", "missing"),
    [("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID")],
)
def test_half_of_the_credentials_is_refused_and_not_shown(
    given: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(given, "value-of-mine")

    with pytest.raises(InputError, match=f"{missing}: is missing, expected together with {given}") as caught:
        settings()

    assert "of-mine" not in str(caught.value)


def test_addressing_that_is_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_ADDRESSING", "host")

    with pytest.raises(InputError, match="S3_ADDRESSING: got 'host', expected auto, path or virtual"):
        settings()


def test_missing_directory_of_credentials_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_CREDENTIALS_DIR", str(tmp_path / "absent"))

    with pytest.raises(InputError, match=r"S3_CREDENTIALS_DIR: got '.*absent', expected a directory"):
        settings()


@pytest.mark.parametrize("files", [{}, {"README": "keys"}, {"accesskey": "", "secretkey": " "}])
def test_directory_without_credentials_is_refused(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("S3_CREDENTIALS_DIR", str(tmp_path))
    expected = "expected a directory with the files AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or accesskey and"

    with pytest.raises(InputError, match=f"S3_CREDENTIALS_DIR: got '{tmp_path}', {expected}"):
        settings()


@pytest.mark.parametrize("mounted", [True, False])
def test_missing_secret_is_no_anonymous_access(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, mounted: bool
) -> None:
    monkeypatch.setenv("VIGIL_S3_SECRET", "vigil-s3")
    if mounted:
        monkeypatch.setenv("S3_CREDENTIALS_DIR", str(tmp_path))

    with pytest.raises(InputError, match=r"Secret vigil-s3: not in the namespace of the run, .* AWS_ACCESS_KEY_ID"):
        settings()


def test_secret_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "accesskey").write_text("key-of-mine\n")
    (tmp_path / "secretkey").write_text("secret-of-mine\n")
    monkeypatch.setenv("VIGIL_S3_SECRET", "mlpipeline-minio-artifact")
    monkeypatch.setenv("S3_CREDENTIALS_DIR", str(tmp_path))

    assert (settings().access_key, settings().secret_key) == ("key-of-mine", "secret-of-mine")
