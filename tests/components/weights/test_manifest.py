"""Manifests of weights: every entry is checked, and the user's is added to the package's."""

from pathlib import Path

import pytest

from components.artifacts import file_sha256
from components.errors import InputError
from components.weights.fetch import fetch, manifest, packaged, pinned, resolve
from components.weights.manifest import VARIABLE, WeightsEntry, add_entry, load_manifest, parse_manifest

DIGEST = "ab" * 32
ENTRY = WeightsEntry(
    name="ours", uri="s3://weights/ours", sha256=DIGEST, licence="CC-BY-4.0", figures={"psnr": 21.7, "perceptual": "a"}
)


def yaml_of(**changes: str) -> str:
    fields = {"uri": "s3://weights/ours", "sha256": DIGEST, "licence": "MIT"} | changes
    return "ours:\n" + "".join(f"  {key}: {value}\n" for key, value in fields.items() if value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (yaml_of(sha256="abc"), r"ours\.sha256: got 'abc', expected 64 lower-case hex digits"),
        (yaml_of(licence=""), r"ours\.licence: got None, expected a text"),
        (yaml_of(uri="ours.safetensors"), r"ours\.uri: got 'ours\.safetensors', expected .* or an absolute path"),
        (yaml_of(uri="https://me:word@host/ours"), r"weights https://host/ours: got credentials"),
        (yaml_of(digest="abc"), r"ours\.digest: unknown key, expected one of uri, sha256, licence, figures"),
        (yaml_of(figures="[1]"), r"ours\.figures: got \[1\], expected texts and numbers by name"),
        (yaml_of() + yaml_of(), "ours: is there twice"),
        (yaml_of() + f"  sha256: {DIGEST}\n", "sha256: is there twice"),
        (yaml_of().replace("ours:", "our s:"), "name: got 'our s', expected letters"),
        ("ours: s3://weights/ours", "ours: got 's3://weights/ours', expected the keys uri"),
        ("[ours]", "content: got 'list', expected entries by name"),
        ("ours: [", "not YAML: "),
    ],
)
def test_wrong_manifest_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^weights manifest plant: {message}") as caught:
        parse_manifest(text.encode(), "plant")
    assert "\n" not in str(caught.value)
    assert "word" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(InputError, match="weights manifest plant: not YAML"):
        parse_manifest(b"\xff\xfe\xfa", "plant")


def test_entry_is_written_read_and_replaced(tmp_path: Path) -> None:
    manifest = str(tmp_path / "weights.yaml")
    add_entry(manifest, ENTRY)
    other = WeightsEntry(name="other", uri="/data/other", sha256=DIGEST, licence="MIT")
    add_entry(manifest, other)
    assert load_manifest(manifest) == {"ours": ENTRY, "other": other}
    newer = WeightsEntry(name="ours", uri="s3://weights/newer", sha256="1" * 64, licence="CC-BY-4.0")
    add_entry(manifest, newer)
    assert load_manifest(manifest) == {"ours": newer, "other": other}
    assert [path.name for path in tmp_path.iterdir()] == ["weights.yaml"]


def test_damaged_manifest_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "weights.yaml"
    path.write_text("ours: [", encoding="utf-8")
    with pytest.raises(InputError, match="not YAML"):
        add_entry(str(path), ENTRY)
    assert path.read_text(encoding="utf-8") == "ours: ["


def test_users_manifest_is_added_to_the_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ours.safetensors"
    path.write_bytes(b"tensors")
    own = WeightsEntry(name="ours", uri=str(path), sha256=file_sha256(path), licence="CC-BY-4.0")
    add_entry(str(tmp_path / "weights.yaml"), own)
    with pytest.raises(InputError, match=r"weights: got 'ours', expected one of .*vgg16"):
        resolve("ours")
    monkeypatch.setenv(VARIABLE, str(tmp_path / "weights.yaml"))
    assert resolve("ours") == own
    assert fetch("ours") == path
    assert manifest().keys() == {*packaged(), "ours"}
    assert pinned("ours") == f"{path}#sha256={own.sha256}"
    for reference in ("vgg16", "none", "", f"{path}#sha256={DIGEST}"):
        assert pinned(reference) == reference


def test_name_of_the_package_in_the_users_manifest_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = tmp_path / "weights.yaml"
    manifest.write_text(yaml_of().replace("ours:", "vgg16:"), encoding="utf-8")
    monkeypatch.setenv(VARIABLE, str(manifest))
    with pytest.raises(InputError, match=f"weights manifest {manifest}: name: got 'vgg16', expected one that VIGIL's"):
        resolve("ours")


def test_missing_manifest_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent.yaml"))
    with pytest.raises(InputError, match=r"weights manifest: got '.*absent\.yaml', expected a file, or s3://"):
        manifest()
