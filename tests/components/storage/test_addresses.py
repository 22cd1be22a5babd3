"""Addresses of data are read in every form that is plainly meant, and others are refused by their name."""

from pathlib import Path

import pytest

from components.dataset.config import Config
from components.errors import InputError
from components.storage.addresses import absolute, address, is_s3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("data/part", "data/part"),
        ("/data/part", "/data/part"),
        ("~/part", "/home/somebody/part"),
        ("~", "/home/somebody"),
        ("file:///data/a%20part", "/data/a part"),
        ("FILE://localhost/data", "/data"),
        ("s3://lines/part", "s3://lines/part"),
        ("S3://lines/Part/", "s3://lines/Part/"),
        ("C:/data", "C:/data"),
        ("a/s3://b", "a/s3://b"),
    ],
)
def test_address_is_read_as_it_is_meant(monkeypatch: pytest.MonkeyPatch, text: str, expected: str) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")

    assert address(text, "dataset.uri") == expected
    assert Config(uri=text).uri == expected


@pytest.mark.parametrize("text", ["gs://lines/part", "abfss://lines/part", "https://host/part", "GS://lines"])
def test_other_scheme_is_refused_by_its_name(text: str) -> None:
    scheme = text.partition(":")[0].lower()
    expected = rf"dataset.uri: got '{text}', expected a path or s3://, file://; {scheme}:// is not read"
    with pytest.raises(InputError, match=expected):
        Config(uri=text)


@pytest.mark.parametrize("text", ["file://host/data", "file://"])
def test_file_of_another_machine_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=f"images: got '{text}', expected file:///FOLDER of this machine"):
        address(text, "images")


def test_path_starts_at_a_folder() -> None:
    assert absolute("part", Path("/lines")) == "/lines/part"
    assert absolute("/data", Path("/lines")) == "/data"
    assert absolute("s3://lines/part", Path("/lines")) == "s3://lines/part"
    assert is_s3("S3://a")
