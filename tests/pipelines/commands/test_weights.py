"""`vigil weights` on a real object store and a real hub, which is gone when the mirror is used."""

import hashlib
import importlib.util
import os
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
import torch

from components.errors import InputError
from components.generator.model import build_generator
from components.networks.embedding import CONSE, CONSE_WEIGHTS, load_embedder
from components.networks.perceptual import PerceptualDistance
from components.storage import s3
from components.vqgan.config import Config as GeneratorConfig
from components.weights.fetch import fetch, manifest, resolve
from components.weights.manifest import WeightsEntry
from pipelines.lines.line import ALL_WEIGHTS, PROFILES, load_line, profile_weights
from tests.hub_server import Hub, serve_hub
from tests.pipelines.dags.test_training import run_blocked
from tests.pipelines.vigil import Vigil, assert_refused

_CONTENT = os.urandom(100_000)
_DIGEST = hashlib.sha256(_CONTENT).hexdigest()
_EMBEDDED = [
    "efficientnet-lite2",
    "minilm-l6-v2",
    "minilm-l6-v2-config",
    "minilm-l6-v2-tokenizer",
    "efficientnet-lite0",
    "vqgan-small",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is fetched in the test's folder, and make tables wide."""
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")
    monkeypatch.setenv("COLUMNS", "250")


def _write_line(tmp_path: Path, reference: str) -> Path:
    path = tmp_path / "line.yaml"
    content = "name: a\nobject: a\ndataset: {uri: .}\nembedder: 'open_clip:ViT-B-32'\nembedder_weights: "
    path.write_text(f"{content}'{reference}'\n", encoding="utf-8")
    return path


def _reference(hub: Hub) -> str:
    return f"{hub.address}/clip.safetensors#sha256={_DIGEST}"


def _hide_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the packages with weights look as if they were not installed."""
    find: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    hidden = {resolve(name).uri.removeprefix("package://").partition("/")[0] for name in _EMBEDDED}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else find(name, *rest))


def test_profile_needs_what_its_stages_load(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = set()

    def record(reference: str) -> WeightsEntry:
        loaded.add(reference)
        return resolve(reference)

    monkeypatch.setattr("components.weights.fetch.resolve", record)  # by which every fetch begins
    load_embedder(CONSE)
    PerceptualDistance()
    build_generator(GeneratorConfig())

    assert set(profile_weights("embedded")) == loaded == set(_EMBEDDED)
    assert set(CONSE_WEIGHTS) < loaded
    assert set(profile_weights("standard")) == {"clip-vit-b-32-openai", "efficientnet-lite0"}
    assert profile_weights(ALL_WEIGHTS) == list(manifest())


def test_line_needs_what_it_names(tmp_path: Path) -> None:
    clip, vqgan = f"s3://weights/clip.safetensors#sha256={_DIGEST}", f"s3://weights/f16.safetensors#sha256={_DIGEST}"
    path = _write_line(tmp_path, clip)
    generator = f"vqgan: {{architecture: f16, weights: '{vqgan}', perceptual: lpips}}\n"
    vit = f"s3://weights/dinov2.safetensors#sha256={_DIGEST}"
    detection = f"detectors: [anomalydino]\ndetection: {{vit_weights: '{vit}'}}\n"
    path.write_text(path.read_text(encoding="utf-8") + generator + detection, encoding="utf-8")

    named = dict.fromkeys(reference for _, reference in load_line(path).named_weights())
    assert list(named) == [clip, "vgg16", vqgan, "efficientnet-lite0", vit]


def test_list_shows_a_profile_and_a_line(vigil: Vigil, tmp_path: Path) -> None:
    done = vigil("weights", "list", "--profile", "embedded")
    assert done.code == 0
    rows = [line.split() for line in done.out.splitlines() if "package://" in line]
    assert [row[1] for row in rows] == _EMBEDDED
    cells = ["Apache-2.0", "24.67", "9656183eaeaf", resolve(_EMBEDDED[0]).uri, "local"]
    assert rows[0][3::2] == cells

    line = _write_line(tmp_path, f"hf://org/model/clip.safetensors@v1#sha256={_DIGEST}")
    done = vigil("weights", "list", "--profile", "standard", "--line", line)
    assert "clip-vit-b-32-openai" in done.out
    assert f"{_DIGEST[:12]} │ hf://org/model/clip.safetensors@v1" in done.out


def test_list_needs_no_heavy_library() -> None:
    done = run_blocked("weights", "list")
    assert (done.returncode, done.stderr) == (0, "")
    assert "clip-vit-b-32-openai" in done.stdout


def test_unknown_profile_is_bad_input(vigil: Vigil) -> None:
    assert_refused(
        vigil("weights", "list", "--profile", "big"), f"profile: got 'big', expected one of {', '.join(PROFILES)}"
    )


def test_verify_says_what_is_right_and_what_is_not(vigil: Vigil, tmp_path: Path) -> None:
    (tmp_path / "clip.safetensors").write_bytes(b"damaged")
    line = _write_line(tmp_path, f"{tmp_path}/clip.safetensors#sha256={_DIGEST}")

    done = vigil("weights", "verify", "--profile", "embedded")
    assert (done.code, done.err) == (0, "")
    assert [text.partition(",")[0] for text in done.out.splitlines()] == [f"{name}: ok" for name in _EMBEDDED]

    done = vigil("weights", "verify", "--profile", "embedded", "--line", line)
    assert done.code == 1
    failed = done.out.splitlines()[-1]
    assert failed.startswith(f"{tmp_path}/clip.safetensors: failed, weights {tmp_path}/clip.safetensors: sha256 of")
    assert len(done.out.splitlines()) == len(_EMBEDDED) + 1


@pytest.mark.s3
def test_run_needs_no_other_host_than_the_mirror(
    vigil: Vigil, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = load_embedder(CONSE).embed_texts(["a scratched transistor"])
    with serve_hub({"/clip.safetensors": _CONTENT}, tmp_path) as hub:
        monkeypatch.setenv("SSL_CERT_FILE", str(hub.ca_file))
        reference = _reference(hub)
        line = _write_line(tmp_path, reference)
        first = vigil("weights", "mirror", f"{prefix}/", "--profile", "embedded", "--line", line)
        assert (first.code, first.err) == (0, "")
        assert sum(": copied, " in text for text in first.out.splitlines()) == len(_EMBEDDED) + 1
        second = vigil("weights", "mirror", prefix, "--profile", "embedded", "--line", line)
        assert sum(": is there, " in text for text in second.out.splitlines()) == len(_EMBEDDED) + 1
        assert hub.gets() == 1

    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path / "another machine"))
    monkeypatch.setenv("VIGIL_WEIGHTS_MIRROR", prefix)
    _hide_packages(monkeypatch)
    assert fetch(reference).read_bytes() == _CONTENT
    assert torch.equal(load_embedder(CONSE).embed_texts(["a scratched transistor"]), before)
    _assert_index(prefix, tmp_path, reference)


def _put(prefix: str, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "object").write_bytes(content)
    s3.publish_file(tmp_path / "object", f"{prefix}/{name}")


@pytest.mark.s3
def test_verify_reads_all_that_a_mirror_holds(vigil: Vigil, prefix: str, tmp_path: Path) -> None:
    assert vigil("weights", "mirror", prefix, "--profile", "embedded").code == 0
    digests = [resolve(name).sha256 for name in _EMBEDDED]

    done = vigil("weights", "verify", f"{prefix}/", "--profile", "embedded")
    assert (done.code, done.err) == (0, "")
    expected = [f"{name}: ok, {prefix}/{digest}" for name, digest in zip(_EMBEDDED, digests, strict=True)]
    assert done.out.splitlines() == expected

    s3.remove_prefix(prefix)
    for digest in digests[1:]:
        _put(prefix, tmp_path, digest, fetch(_EMBEDDED[digests.index(digest)]).read_bytes())
    _put(prefix, tmp_path, digests[1], b"damaged")
    _put(prefix, tmp_path, _DIGEST, _CONTENT)
    _put(prefix, tmp_path, "0" * 64, _CONTENT)
    done = vigil("weights", "verify", prefix, "--profile", "embedded")
    damaged = hashlib.sha256(b"damaged").hexdigest()
    assert (done.code, done.out.splitlines()) == (
        1,
        [
            f"{_EMBEDDED[0]}: failed, is missing",
            f"{_EMBEDDED[1]}: failed, is damaged: sha256 is {damaged}, expected {digests[1]}",
            *expected[2:],
            f"{'0' * 64}: failed, is damaged: sha256 is {_DIGEST}, expected {'0' * 64}",
            f"{_DIGEST}: ok, {prefix}/{_DIGEST}",
        ],
    )


@pytest.mark.s3
def test_verify_of_a_mirror_that_is_empty_is_bad_input(vigil: Vigil, prefix: str) -> None:
    assert_refused(vigil("weights", "verify", prefix), f"{prefix}: no objects below this prefix")
    assert_refused(vigil("weights", "verify", "/mnt"), "verify: got '/mnt', expected s3://BUCKET/PREFIX")


@pytest.mark.s3
def test_mirror_copies_what_it_can_and_names_what_it_cannot(vigil: Vigil, prefix: str, tmp_path: Path) -> None:
    missing = f"{tmp_path}/clip.safetensors"
    line = _write_line(tmp_path, f"{missing}#sha256={_DIGEST}")

    done = vigil("weights", "mirror", prefix, "--profile", "embedded", "--line", line)

    assert (done.code, done.err) == (1, "")
    assert [text for text in done.out.splitlines() if ": copied, " not in text] == [
        f"{missing}: failed, weights {missing}: no file at {missing}"
    ]
    _assert_index(prefix, tmp_path)

    (tmp_path / "clip.safetensors").write_bytes(_CONTENT)
    assert vigil("weights", "mirror", prefix, "--profile", "embedded", "--line", line).code == 0


def _assert_index(prefix: str, tmp_path: Path, *references: str) -> None:
    from components.weights.mirror import read_index

    index = read_index(prefix, tmp_path / "index.json")
    entries = [resolve(name) for name in (*_EMBEDDED, *references)]
    assert index == {e.sha256: {"name": e.name, "licence": e.licence, "source": e.uri} for e in entries}
    names = {item.name for item in s3.list_objects(prefix)}
    assert names == {"index.json", *index}


@pytest.mark.s3
def test_mirror_without_the_file_is_bad_input_and_the_origin_is_not_asked(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIGIL_WEIGHTS_MIRROR", prefix)
    with serve_hub({"/clip.safetensors": _CONTENT}, tmp_path) as hub:
        monkeypatch.setenv("SSL_CERT_FILE", str(hub.ca_file))
        expected = (
            rf"{_DIGEST} is not in the mirror {prefix}; its origin was not tried.*`vigil weights mirror {prefix}`"
        )
        with pytest.raises(InputError, match=expected):
            fetch(_reference(hub))

    assert not hub.between.requests
    assert not list((tmp_path / "cache" / "weights").iterdir())


@pytest.mark.s3
def test_damaged_mirror_is_bad_input(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_WEIGHTS_MIRROR", prefix)
    (tmp_path / "file").write_bytes(b"other")
    s3.publish_file(tmp_path / "file", f"{prefix}/{_DIGEST}")

    with pytest.raises(InputError, match=f"{_DIGEST} is not in the mirror"):
        fetch(f"s3://absent/clip.safetensors#sha256={_DIGEST}")


@pytest.mark.parametrize("uri", ["/mnt/weights", "https://host/weights"])
def test_mirror_that_is_no_object_store_is_bad_input(vigil: Vigil, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(vigil("weights", "mirror", uri), f"mirror: got '{uri}', expected s3://BUCKET/PREFIX")
    monkeypatch.setenv("VIGIL_WEIGHTS_MIRROR", uri)
    with pytest.raises(InputError, match=f"VIGIL_WEIGHTS_MIRROR: got '{uri}', expected s3://BUCKET/PREFIX"):
        fetch(f"https://host/clip.safetensors#sha256={_DIGEST}")
