"""Checksums of objects, against entity tags computed by hand."""

import hashlib
from pathlib import Path

import pytest

from components.storage.checksums import SHA256_HEADER, CorruptError, check_fetched, check_stored, equal_parts, etag_of

_CONTENT = b"0123456789"


def _md5(content: bytes) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file of ten bytes."""
    path = tmp_path / "file"
    path.write_bytes(_CONTENT)
    return path


def test_entity_tag_of_one_piece_is_its_md5(file: Path) -> None:
    assert etag_of(file) == _md5(_CONTENT).hex()


def test_entity_tag_of_parts_is_the_md5_of_their_md5s(file: Path) -> None:
    expected = _md5(_md5(b"0123") + _md5(b"4567") + _md5(b"89")).hex()

    assert equal_parts(10, 4) == [4, 4, 2]
    assert etag_of(file, [4, 4, 2]) == f"{expected}-3"


@pytest.mark.parametrize(
    ("etag", "headers", "name"),
    [
        ("any-thing", {SHA256_HEADER: "0" * 64}, "sha256"),
        ("0" * 32, {}, "MD5"),
        (f"{'0' * 32}-3", {}, "MD5 of parts"),
    ],
)
def test_another_checksum_is_damage(file: Path, etag: str, headers: dict[str, str], name: str) -> None:
    with pytest.raises(CorruptError, match=f"damaged: {name} is [0-9a-f-]+, expected 0+"):
        check_fetched(file, etag, 10, headers, lambda number: [4, 4, 2][number - 1])


def test_another_size_is_damage(file: Path) -> None:
    with pytest.raises(CorruptError, match="damaged: size is 10, expected 11"):
        check_fetched(file, etag_of(file), 11, {}, lambda number: None)


@pytest.mark.parametrize(
    ("etag", "headers"),
    [
        ("0" * 32, {"x-amz-server-side-encryption-aws-kms-key-id": "key"}),
        (f"{'0' * 32}-3", {}),
        ("an opaque tag", {}),
    ],
    ids=["encrypted", "parts of unknown sizes", "no MD5"],
)
def test_what_has_no_checksum_is_checked_by_its_size(file: Path, etag: str, headers: dict[str, str]) -> None:
    check_fetched(file, etag, 10, headers, lambda number: None)
    with pytest.raises(CorruptError, match="damaged: size is 10, expected 9"):
        check_fetched(file, etag, 9, headers, lambda number: None)


def test_stored_object_with_another_tag_or_size_is_damage(file: Path) -> None:
    check_stored(file, etag_of(file), 10, {}, 16)
    check_stored(file, etag_of(file, [4, 4, 2]), 10, {}, 4)
    with pytest.raises(CorruptError, match=r"damaged: MD5 is 0+, expected"):
        check_stored(file, "0" * 32, 10, {}, 16)
    with pytest.raises(CorruptError, match="damaged: size is 9, expected 10"):
        check_stored(file, etag_of(file), 9, {}, 16)
