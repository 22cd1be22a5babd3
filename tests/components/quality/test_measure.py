"""The table of an image set: figures with known answers, and reasons where there are none."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torchmetrics.functional.image.lpips import _lpips_compute, _lpips_update

from components.artifacts import QUALITY, new_image_set, read_json
from components.errors import InputError
from components.networks.embedding import ConseEmbedder
from components.networks.perceptual import Lpips, PerceptualDistance
from components.quality.config import Config
from components.quality.measure import (
    Figure,
    Missing,
    Networks,
    image_quality,
    is_final,
    load_networks,
    measure_quality,
    read_pairs,
)
from tests.components.image_sets import SIZE, part, write_added, write_reference
from tests.components.tensor_memory import Peak
from tests.components.vgg16 import random_vgg16, save_vgg16

NAMES = {
    "inception_score",
    "fid",
    "kid",
    "ssim",
    "psnr",
    "lpips",
    "efficientnet_distance",
    "embedding_similarity",
    "pixel_std",
}


class MeanColours:
    """A tiny network in Inception's place: three features, and as many classes."""

    name = "mean colours"

    def features(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))

    def logits(self, features: Tensor) -> Tensor:
        return features


class MeanColourEmbedder:
    """An image is its mean colour as a unit vector."""

    name = "mean colour"
    digest = "0"

    def embed_images(self, images: Tensor) -> Tensor:
        return functional.normalize(images.mean(dim=(2, 3)), dim=1)

    def embed_texts(self, texts: Any) -> Tensor:
        raise NotImplementedError


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks(
        inception=MeanColours(),
        lpips=Missing(reason="no weights: there are none"),
        substitute=PerceptualDistance(),
        embedder=MeanColourEmbedder(),
    )


def write_images(path: Path, images: list[npt.NDArray[np.uint8]], sources: list[str]) -> Path:
    with new_image_set(path) as (writer, _):
        for index, (image, source) in enumerate(zip(images, sources, strict=True)):
            writer.add(image, id=f"image-{index}", source=source)
    return path


def flat(*rgb: int) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(np.array(rgb, dtype=np.uint8), (64, 64, 3))


def measured(root: Path, config: Config, networks: Networks) -> dict[str, Figure]:
    return image_quality(read_pairs(root / "reference", root / "images"), networks, config)


def test_table_holds_every_figure_or_its_reason(tmp_path: Path, networks: Networks) -> None:
    write_reference(tmp_path / "reference")
    write_added(tmp_path / "images", 3, ["train-good-0", "train-good-1"])
    quality = tmp_path / "quality"
    result = measure_quality(tmp_path / "reference", tmp_path / "images", quality, Config(), networks)
    table = read_json(quality / QUALITY)
    assert set(table) == NAMES
    for row in table.values():
        assert set(row) == {"value", "reason", "retryable", "higher_is_better", "network"}
        assert (row["value"] is None) == bool(row["reason"])
    assert result["not_computed"] == "fid, kid, lpips"
    assert {name: row["value"] for name, row in table.items() if row["value"] is not None} == {
        name: value for name, value in result.items() if name != "not_computed"
    }
    assert table["fid"]["reason"] == "not asked for: quality.fid is false"
    assert table["lpips"] == {
        "value": None,
        "reason": "no weights: there are none",
        "retryable": False,
        "higher_is_better": False,
        "network": "LPIPS (VGG16)",
    }
    assert table["efficientnet_distance"]["network"] == PerceptualDistance.name


def test_each_image_is_compared_with_its_own_given_image(tmp_path: Path, networks: Networks) -> None:
    write_images(tmp_path / "reference", [flat(100, 0, 0), flat(0, 100, 0)], ["a.png", "b.png"])
    write_images(tmp_path / "images", [flat(0, 110, 0), flat(110, 0, 0)], ["image-1", "image-0"])
    figures = measured(tmp_path, Config(), networks)
    error = (10 / 255) ** 2 / 3
    assert figures["psnr"].value == pytest.approx(-10 * np.log10(error), rel=1e-4)
    assert figures["embedding_similarity"].value == pytest.approx(1.0)


def test_image_of_no_given_source_is_compared_with_all(tmp_path: Path, networks: Networks) -> None:
    write_images(tmp_path / "reference", [flat(100, 0, 0), flat(0, 100, 0)], ["a.png", "b.png"])
    write_images(tmp_path / "images", [flat(90, 0, 0)], ["iteration-003/000"])
    figures = measured(tmp_path, Config(), networks)
    near, far = (10 / 255) ** 2 / 3, ((90 / 255) ** 2 + (100 / 255) ** 2) / 3
    assert figures["psnr"].value == pytest.approx(-5 * (np.log10(near) + np.log10(far)), rel=1e-4)
    assert figures["embedding_similarity"].value == pytest.approx(0.5)


def test_set_of_the_given_image_itself(tmp_path: Path, networks: Networks) -> None:
    write_images(tmp_path / "reference", [part(150, 0)], ["a.png"])
    write_images(tmp_path / "images", [part(150, 0), part(150, 0)], ["image-0", "image-0"])
    figures = measured(tmp_path, Config(fid=True, kid=True), networks)
    assert figures["psnr"].reason == "infinite: an image equals its given image"
    assert figures["ssim"].value == pytest.approx(1.0)
    assert figures["efficientnet_distance"].value == pytest.approx(0.0, abs=1e-6)
    assert figures["inception_score"].value == pytest.approx(1.0)
    assert figures["pixel_std"].value == 0.0
    for name in ("fid", "kid"):
        assert figures[name].reason == "needs two given images at least, got one"


def test_single_image_has_no_variance(tmp_path: Path, networks: Networks) -> None:
    write_images(tmp_path / "reference", [part(150, 0)], ["a.png"])
    write_images(tmp_path / "images", [part(160, 1)], ["image-0"])
    assert measured(tmp_path, Config(), networks)["pixel_std"].reason == "needs two images at least, got one"


def test_fid_and_kid_are_computed_when_asked_for(tmp_path: Path, networks: Networks) -> None:
    given = [flat(value, 50, 50) for value in (100, 120, 140)]
    write_images(tmp_path / "reference", given, ["a.png", "b.png", "c.png"])
    write_images(tmp_path / "images", [flat(value, 50, 50) for value in (151, 171, 191)], ["x", "y", "z"])
    figures = measured(tmp_path, Config(fid=True, kid=True), networks)
    assert figures["fid"].value == pytest.approx(0.2**2, rel=1e-3)
    assert figures["kid"].value is not None
    assert figures["fid"].network == "mean colours"


def test_lpips_is_what_torchmetrics_computes(tmp_path: Path, networks: Networks) -> None:
    lpips = Lpips(save_vgg16(random_vgg16(), tmp_path / "vgg16.safetensors"))
    write_images(tmp_path / "reference", [part(150, 0)], ["a.png"])
    write_images(tmp_path / "images", [part(150, 1), part(180, 2)], ["image-0", "image-0"])
    pairs = read_pairs(tmp_path / "reference", tmp_path / "images")
    figure = image_quality(pairs, replace(networks, lpips=lpips), Config())["lpips"]
    with torch.no_grad():
        scores = _lpips_update(pairs.images[:], pairs.given[:].expand(2, -1, -1, -1), lpips._network, normalize=True)
    assert figure.value == pytest.approx(float(_lpips_compute(scores, "mean")), rel=1e-5)
    assert figure.network == "LPIPS (VGG16)"


def images_of(tensor: Tensor) -> int:
    """How many images a tensor holds as they were read; SSIM's own stacks are in double precision."""
    return len(tensor) if tensor.shape[1:] == (3, SIZE, SIZE) and tensor.dtype == torch.float32 else 0


def test_no_more_than_a_batch_of_images_is_read_at_once(tmp_path: Path, networks: Networks) -> None:
    write_reference(tmp_path / "reference", given=40, good=0, bad=0)
    write_added(tmp_path / "images", 40, [f"train-good-{index}" for index in range(40)])
    with Peak(images_of) as read:
        figures = measured(tmp_path, Config(fid=True, kid=True), networks)
    assert all(figures[name].value is not None for name in ("inception_score", "fid", "kid", "ssim", "pixel_std"))
    assert read.largest == 32


def test_what_is_not_named_or_unavailable_is_missing_with_the_reason(tmp_path: Path, conse: ConseEmbedder) -> None:
    absent = tmp_path / "absent.pth"
    networks = load_networks(Config(lpips_backbone=f"{absent}#sha256={'0' * 64}"))
    assert networks.inception == Missing(reason="no weights: quality.inception is empty")
    assert networks.lpips == Missing(reason=f"unavailable: weights {absent}: no file at {absent}", retryable=True)
    assert networks.embedder.digest == conse.digest


@pytest.mark.parametrize(("retryable", "final"), [(False, True), (True, False)])
def test_table_is_final_unless_weights_could_not_be_fetched(
    tmp_path: Path, networks: Networks, retryable: bool, final: bool
) -> None:
    write_images(tmp_path / "reference", [flat(100, 0, 0)], ["a.png"])
    write_images(tmp_path / "images", [flat(90, 0, 0)], ["image-0"])
    found = replace(networks, lpips=Missing(reason="unavailable", retryable=retryable))
    measure_quality(tmp_path / "reference", tmp_path / "images", tmp_path / "quality", Config(), found)
    assert is_final(tmp_path / "quality") is final


def test_unknown_weights_are_an_error() -> None:
    with pytest.raises(InputError, match="weights: got 'vgg61', expected one of"):
        load_networks(Config(lpips_backbone="vgg61"))


def test_images_of_another_size_are_named(tmp_path: Path) -> None:
    write_images(tmp_path / "reference", [part(150, 0)], ["a.png"])
    write_images(tmp_path / "images", [part(150, 0)[:32]], ["image-0"])
    with pytest.raises(InputError, match="images: got sizes 64 x 32, 64 x 64, expected that of the given images alone"):
        read_pairs(tmp_path / "reference", tmp_path / "images")


def test_empty_set_is_named(tmp_path: Path) -> None:
    write_reference(tmp_path / "reference", given=0)
    write_images(tmp_path / "images", [part(150, 0)], ["image-0"])
    with pytest.raises(InputError, match="reference: no good training image in it"):
        read_pairs(tmp_path / "reference", tmp_path / "images")


@pytest.mark.parametrize(("fields", "message"), [({"seed": -1}, "seed: got -1"), ({"embedder": "clip"}, "got 'clip'")])
def test_config_names_field_and_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**fields)
