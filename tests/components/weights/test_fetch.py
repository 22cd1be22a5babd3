"""Weights are checked by digest, read without executing anything, and must fit their module."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from components.artifacts import file_sha256
from components.errors import InputError
from components.networks.backbones import BACKBONES, load_classifier, load_features
from components.weights.fetch import fetch, load_into, load_tensors, manifest, pinned, resolve

_DIGEST = "0" * 64


class MakesFolder:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., None], tuple[str]]:
        return os.mkdir, (str(self._path),)


def _tensors() -> dict[str, Tensor]:
    return {"weight": torch.arange(6.0).view(2, 3), "bias": torch.tensor([1.0, 2.0])}


def _linear() -> nn.Linear:
    module = nn.Linear(3, 2)
    load_into(module, _tensors(), "test")
    return module


def _assert_loaded(path: Path) -> None:
    loaded = load_tensors(path)

    assert loaded.keys() == _tensors().keys()
    assert all(torch.equal(loaded[key], tensor) for key, tensor in _tensors().items())


def test_manifest_names_digest_and_licence_of_every_file() -> None:
    assert {"efficientnet-lite0", "efficientnet-lite2", "minilm-l6-v2"} <= manifest().keys()
    for name, entry in manifest().items():
        assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256), name
        assert re.fullmatch(r"(package|https|hf|s3)://\S+", entry.uri), name
        assert entry.licence in {"Apache-2.0", "BSD-3-Clause", "CC-BY-4.0", "CC-BY-SA-4.0", "MIT"}, name


def test_name_of_the_manifest_is_resolved() -> None:
    assert resolve("minilm-l6-v2") == manifest()["minilm-l6-v2"]


def test_address_with_digest_is_resolved() -> None:
    entry = resolve(f"s3://weights/clip.safetensors#sha256={_DIGEST}")

    assert (entry.uri, entry.sha256, entry.licence) == ("s3://weights/clip.safetensors", _DIGEST, "unknown")


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("vit", r"weights: got 'vit', expected one of .*vgg16, vqgan-small, wide-resnet50, or ADDRESS#sha256=HEX"),
        ("file.safetensors", "weights: got 'file.safetensors'"),
        (f"#sha256={_DIGEST}", "weights: got '#sha256="),
        ("file#sha256=abc", "weights file: got digest 'abc', expected 64 lower-case hex digits"),
        (f"file#sha256={'A' * 64}", "weights file: got digest 'AAAA"),
    ],
)
def test_reference_that_is_none_is_refused(reference: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resolve(reference)


@pytest.mark.parametrize("name", ["efficientnet-lite0", "efficientnet-lite2", "minilm-l6-v2"])
def test_files_of_packages_have_their_digest(name: str) -> None:
    assert fetch(name).is_file()


def test_local_file_is_fetched(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file(_tensors(), path)

    assert fetch(f"{path}#sha256={file_sha256(path)}") == path


def test_file_is_found_by_any_address_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "my file.safetensors"
    save_file(_tensors(), path)

    for address in ("~/my file.safetensors", f"file://{tmp_path}/my%20file.safetensors"):
        assert fetch(f"{address}#sha256={file_sha256(path)}") == path
        assert pinned(f"{address}#sha256={file_sha256(path)}") == f"{path}#sha256={file_sha256(path)}"


@pytest.mark.parametrize("scheme", ["gs", "GS", "http", "azure"])
def test_scheme_that_is_not_read_is_named(scheme: str) -> None:
    with pytest.raises(InputError, match=rf"weights: got '{scheme}://a/b', .*; {scheme.lower()}:// is not read"):
        fetch(f"{scheme}://a/b#sha256={_DIGEST}")


def test_file_with_another_digest_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    save_file(_tensors(), path)

    with pytest.raises(InputError, match=rf"sha256 of .*file.safetensors is {file_sha256(path)}, expected {_DIGEST}"):
        fetch(f"{path}#sha256={_DIGEST}")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no file at .*absent.safetensors"):
        fetch(f"{tmp_path}/absent.safetensors#sha256={_DIGEST}")


def test_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(InputError, match="the Python package no_such_package is not installed"):
        fetch(f"package://no_such_package/file.pth#sha256={_DIGEST}")


def test_hub_out_of_reach_is_no_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path))
    monkeypatch.setenv("VIGIL_NET_ATTEMPTS", "1")

    with pytest.raises(OSError, match=r"^https://127\.0\.0\.1:1/file\.safetensors: the server did not answer"):
        fetch(f"https://127.0.0.1:1/file.safetensors#sha256={_DIGEST}")

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_file_in_the_cache_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_CACHE", str(tmp_path))
    (tmp_path / "weights").mkdir()
    save_file(_tensors(), tmp_path / "file")
    digest = file_sha256(tmp_path / "file")
    cached = (tmp_path / "file").rename(tmp_path / "weights" / f"{digest}.safetensors")

    assert fetch(f"https://127.0.0.1:1/file.safetensors#sha256={digest}") == cached


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(_tensors(), tmp_path / "file.safetensors")

    _assert_loaded(tmp_path / "file.safetensors")


def test_state_dict_is_read(tmp_path: Path) -> None:
    torch.save(_tensors(), tmp_path / "file.pt")

    _assert_loaded(tmp_path / "file.pt")


def test_state_dict_of_a_checkpoint_is_read(tmp_path: Path) -> None:
    torch.save({"state_dict": _tensors(), "epoch": 3}, tmp_path / "file.ckpt")

    _assert_loaded(tmp_path / "file.ckpt")


def test_torchscript_archive_is_read(tmp_path: Path) -> None:
    torch.jit.script(_linear()).save(str(tmp_path / "file.pt"))  # type: ignore[no-untyped-call]

    _assert_loaded(tmp_path / "file.pt")


@pytest.mark.parametrize("wrap", [lambda made: made, lambda made: {"state_dict": made}], ids=["alone", "in a dict"])
@pytest.mark.parametrize("save", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_pickle_of_other_objects_is_refused_and_not_executed(
    tmp_path: Path, save: Callable[[object, Path], object], wrap: Callable[[object], object]
) -> None:
    marker, path = tmp_path / "executed", tmp_path / "file.pt"
    save(wrap(MakesFolder(marker)), path)

    with pytest.raises(InputError, match=r"file.pt: not a file of tensors only; convert it to safetensors"):
        load_tensors(path)

    assert not marker.exists()


@pytest.mark.parametrize("content", [[1, 2], {}, {"weight": 3}, {"state_dict": {}}, torch.zeros(2)])
def test_file_without_named_tensors_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "file.pt")

    with pytest.raises(InputError, match=r"file.pt: holds \w+, expected named tensors"):
        load_tensors(tmp_path / "file.pt")


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_truncated_safetensors_are_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "file.safetensors"
    save_file(_tensors(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    with pytest.raises(InputError, match=r"file.safetensors: not a safetensors file"):
        load_tensors(path)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_truncated_state_dict_is_refused(tmp_path: Path, share: float) -> None:
    path = tmp_path / "file.pt"
    torch.save(_tensors(), path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

    with pytest.raises(InputError, match=r"file.pt: not a file of tensors only"):
        load_tensors(path)


def test_module_takes_the_tensors() -> None:
    module = _linear()

    assert torch.equal(module.weight, _tensors()["weight"])
    assert torch.equal(module.bias, _tensors()["bias"])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"weight": torch.zeros(2, 3)}, "weights test: no tensor 'bias', which Linear needs"),
        ({**_tensors(), "scale": torch.zeros(1)}, "weights test: tensor 'scale' has no place in Linear"),
        ({**_tensors(), "bias": torch.zeros(3)}, "weights test: tensor 'bias' has shape [3], expected [2]"),
    ],
)
def test_tensors_that_do_not_fit_are_named_and_change_nothing(tensors: dict[str, Tensor], message: str) -> None:
    module = _linear()

    with pytest.raises(InputError) as caught:
        load_into(module, tensors, "test")

    assert str(caught.value) == message
    assert torch.equal(module.weight, _tensors()["weight"])


@pytest.mark.parametrize("name", BACKBONES)
def test_classifier_has_the_classes_of_imagenet_and_no_gradients(name: str) -> None:
    classifier = load_classifier(name)

    assert classifier(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())


def test_features_have_the_strides_of_their_indices() -> None:
    features = load_features("efficientnet-lite0", (1, 2, 4))

    maps = features(torch.zeros(1, 3, 64, 64))

    assert [64 // feature.shape[-1] for feature in maps] == [4, 8, 32]
    assert not features.training


def test_features_are_those_of_the_classifier() -> None:
    classifier, features = load_classifier("efficientnet-lite0"), load_features("efficientnet-lite0", (4,))
    expected = classifier.state_dict()

    assert all(torch.equal(tensor, expected[key]) for key, tensor in features.state_dict().items())


@pytest.mark.parametrize("load", [load_classifier, lambda name: load_features(name, (1,))])
def test_unknown_backbone_is_named(load: Callable[[str], nn.Module]) -> None:
    with pytest.raises(InputError, match="backbone: got 'resnet18', expected one of efficientnet-lite0"):
        load("resnet18")
