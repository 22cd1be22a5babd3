"""The networks by themselves: Gaussians against their definition, weights by reference, and what does not fit."""

from collections import OrderedDict
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from components.artifacts import file_sha256
from components.detectors.config import Config
from components.detectors.detector import build_detector
from components.detectors.efficientad import EfficientAd
from components.detectors.encoder import DinoEncoder, Encoder
from components.detectors.enlarging import Enlarge
from components.detectors.padim import fit_gaussians
from components.errors import InputError
from components.networks.backbones import RESNETS


def written(tensors: dict[str, Tensor], path: Path) -> str:
    save_file({key: value.contiguous() for key, value in tensors.items()}, path)
    return f"{path}#sha256={file_sha256(path)}"


def test_many_images_give_the_papers_covariance() -> None:
    """With n far above d, the estimate at each position is that of its own images and 0.01 on the diagonal."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.randn(4, 3, 3, generator=generator)
    draws = torch.einsum("pde,npe->npd", factors, torch.randn(20_000, 4, 3, generator=generator))
    mean, precision = fit_gaussians(draws.permute(0, 2, 1).reshape(-1, 3, 2, 2))
    expected = torch.stack([torch.cov(draws[:, index].T) + 0.01 * torch.eye(3) for index in range(4)])
    torch.testing.assert_close(torch.linalg.inv(precision), expected, rtol=0.02, atol=0.02)
    torch.testing.assert_close(mean, draws.mean(dim=0).T)


def test_one_image_gives_the_covariance_of_neighbours() -> None:
    """On a ramp of slope 1 along the columns, neighbours differ by one in two of three columns."""
    ramp = torch.arange(50.0).expand(1, 1, 50, 50)
    mean, precision = fit_gaussians(ramp)
    inner = 1 / precision[1, 0, 0]
    assert float(inner) == pytest.approx(2 / 3 * 49 / 50 + 0.01, rel=1e-3)
    assert torch.equal(mean[0, :50], torch.arange(50.0))


def test_encoder_stays_frozen_and_gives_its_strides() -> None:
    encoder = Encoder("efficientnet-lite0", (1, 2, 3)).train()
    assert not encoder.body.training
    maps = encoder(torch.rand(1, 3, 64, 64))
    assert [map.shape[-1] for map in maps] == [16, 8, 4]
    assert [map.shape[1] for map in maps] == encoder.channels
    assert not any(map.requires_grad for map in maps)


@pytest.mark.parametrize(("name", "levels"), [("efficientnet-lite0", (2, 3)), ("efficientnet-lite2", (4,))])
def test_folded_backbone_gives_the_maps_of_the_whole_one(name: str, levels: tuple[int, ...]) -> None:
    encoder = Encoder(name, levels)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, expected = encoder(images), encoder.body((images - encoder.mean) / encoder.std)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        assert all(map.is_contiguous(memory_format=torch.channels_last) for map in found)
        encoder.load_state_dict({key: value * 0 for key, value in encoder.state_dict().items()} | {"std": encoder.std})
        assert not any(map.any() for map in encoder(images))
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in encoder._faster().modules())
    assert encoder.double()(images.double())[0].dtype == torch.float64


def test_map_of_patches_is_that_of_anomalib() -> None:
    values = torch.rand(2, 1, 9, 13, generator=torch.Generator().manual_seed(0))
    found = Enlarge()(values, (70, 101))
    torch.testing.assert_close(found, AnomalyMapGenerator()(values, (70, 101)), rtol=1e-5, atol=1e-5)


def test_residual_network_by_reference(tmp_path: Path) -> None:
    """torchvision's older files have no counters of batches; the features are those of the whole network."""
    torch.manual_seed(0)
    network = timm.create_model("resnet18", pretrained=False)
    tensors = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    reference = written(tensors, tmp_path / "resnet18.safetensors")
    encoder = Encoder("resnet18", (3,), reference=reference)
    images = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(value).view(3, 1, 1) for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        expected = network.eval().forward_intermediates((images - mean) / std, indices=[3], intermediates_only=True)
    torch.testing.assert_close(encoder(images), expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(InputError, match=r"weights .*lite\.safetensors: no tensor 'conv1\.weight'"):
        Encoder("resnet18", (3,), reference=written({"a": torch.zeros(1)}, tmp_path / "lite.safetensors"))


@pytest.mark.parametrize("zipped", [True, False])
def test_residual_network_as_torchvision_saves_it(tmp_path: Path, zipped: bool) -> None:
    """Parameters and buffers under torchvision's names, in PyTorch's format of today and of its older files."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18(weights=None).eval()
    path = tmp_path / "resnet18.pth"
    tensors = {**network.state_dict(), **dict(network.named_parameters())}
    torch.save(OrderedDict(tensors), path, _use_new_zipfile_serialization=zipped)
    encoder = Encoder("resnet18", (1,), reference=f"{path}#sha256={file_sha256(path)}")
    images = torch.rand(1, 3, 64, 64)
    normalised = (images - encoder.mean) / encoder.std
    with torch.no_grad():
        stem = network.maxpool(network.relu(network.bn1(network.conv1(normalised))))
        torch.testing.assert_close(encoder(images)[0], network.layer1(stem))


def test_papers_backbone_has_torchvisions_names_and_shapes() -> None:
    with torch.device("meta"):
        stored = torchvision.models.wide_resnet50_2(weights=None).state_dict()
        body = timm.create_model(RESNETS["wide-resnet50"], pretrained=False, features_only=True, out_indices=(1, 2, 3))
    expected = {key: value.shape for key, value in body.state_dict().items()}
    assert {key: stored[key].shape for key in expected} == expected


@pytest.mark.parametrize("detector", ["reverse_distillation", "padim", "patchcore"])
def test_papers_backbone_builds_the_papers_student(tmp_path: Path, detector: str) -> None:
    torch.manual_seed(0)
    tensors = timm.create_model("resnet18", pretrained=False).state_dict()
    reference = written(tensors, tmp_path / "resnet18.safetensors")
    model = build_detector(Config(detector=detector, backbone="resnet18", backbone_weights=reference), 64)
    kinds = {type(module).__name__ for module in model.modules()}
    assert ("OCBE" in kinds) == (detector == "reverse_distillation")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "registers"), [("dinov2-small", 0), ("dinov2-small-reg4", 4)])
def test_transformer_by_reference_under_its_authors_names(tmp_path: Path, name: str, registers: int) -> None:
    """The tokens are those of the network that the file was written from, at its own size.

    At another, its positions are resampled as its authors do: with antialiasing where there are registers alone.
    """
    torch.manual_seed(0)
    architecture = f"vit_small_patch14_{'reg4_' if registers else ''}dinov2"
    network = timm.create_model(architecture, pretrained=False, num_classes=0, img_size=98).eval()
    tensors = dict(network.state_dict())
    if registers:
        tensors["register_tokens"] = tensors.pop("reg_token")
        tensors["pos_embed"] = torch.cat([torch.zeros(1, 1, 384), tensors["pos_embed"]], dim=1)
    reference = written({**tensors, "mask_token": torch.zeros(1, 384)}, tmp_path / "vit.safetensors")
    encoder = DinoEncoder(name, reference, 98, (-1,), norm=True)
    images = torch.rand(1, 3, 98, 98)
    with torch.no_grad():
        expected = network.forward_features((images - encoder.mean) / encoder.std)
    torch.testing.assert_close(encoder(images)[0], expected)
    assert encoder.prefix == 1 + registers
    smaller = DinoEncoder(name, reference, 56, (-1,), norm=True).body.pos_embed
    grid = network.pos_embed.detach()[:, -49:].view(1, 7, 7, 384).permute(0, 3, 1, 2)
    resampled = functional.interpolate(grid, (4, 4), mode="bicubic", antialias=registers > 0)
    torch.testing.assert_close(smaller[:, -16:], resampled.flatten(2).transpose(1, 2))


def test_file_that_is_no_transformer_is_named(tmp_path: Path) -> None:
    reference = written({"fc.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(
        InputError, match=r"detection\.vit_weights: got '.*other\.safetensors', expected tensors of DINO"
    ):
        DinoEncoder("dinov2-small", reference, 98, (-1,), norm=True)


def test_papers_teacher_by_reference(tmp_path: Path) -> None:
    from anomalib.models.image.efficient_ad.torch_model import SmallPatchDescriptionNetwork

    torch.manual_seed(0)
    teacher = SmallPatchDescriptionNetwork(384)
    reference = written(teacher.state_dict(), tmp_path / "pretrained_teacher_small.safetensors")
    config = Config(detector="efficientad", teacher_weights=reference)
    model = build_detector(config, 256)
    assert isinstance(model, EfficientAd)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(model.teacher(images), teacher(images))
    with pytest.raises(InputError, match=r"dataset\.image_size: got 128, expected 256 or more"):
        build_detector(config, 128)


@pytest.mark.slow
def test_papers_efficientad_learns_and_scores(tmp_path: Path) -> None:
    from anomalib.models.image.efficient_ad.torch_model import SmallPatchDescriptionNetwork

    from components.detectors.detector import fit, predict

    torch.manual_seed(0)
    reference = written(SmallPatchDescriptionNetwork(384).state_dict(), tmp_path / "teacher.safetensors")
    images = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    model = fit(images, Config(detector="efficientad", teacher_weights=reference, efficientad_steps=1))
    scores, maps = predict(model, images)
    assert maps.shape == (1, 256, 256)
    assert torch.isfinite(scores).all()
