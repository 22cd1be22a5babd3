"""LPIPS on a backbone by reference, checked against its definition (Zhang et al., 2018)."""

from pathlib import Path

import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torch.nn import functional

from components.errors import InputError
from components.networks.perceptual import Lpips, PerceptualDistance, psnr
from tests.components.vgg16 import WIDTHS, random_vgg16, save_vgg16

COMPARED = (1, 3, 6, 9, 12)
"""Convolutions, counted from 0, after whose ReLU LPIPS compares features."""
MEAN = torch.tensor([-0.030, -0.088, -0.188])[:, None, None]
STD = torch.tensor([0.458, 0.448, 0.450])[:, None, None]


def defined_distance(backbone: dict[str, Tensor], images: Tensor, targets: Tensor) -> Tensor:
    """LPIPS as defined: weighted squared differences of unit features, averaged over space, summed over layers."""
    folder = Path(torchmetrics.__file__).parent / "functional" / "image" / "lpips_models"
    heads = torch.load(folder / "vgg.pth", map_location="cpu", weights_only=True)
    features = [(x - MEAN) / STD for x in (images, targets)]
    convolutions = [key.removesuffix(".weight") for key in backbone if key.endswith("weight") and "features" in key]
    total, index = torch.zeros(len(images)), 0
    for width in WIDTHS:
        if width == "pool":
            features = [functional.max_pool2d(x, 2) for x in features]
            continue
        weight, bias = (backbone[f"{convolutions[index]}.{part}"] for part in ("weight", "bias"))
        features = [functional.relu(functional.conv2d(x, weight, bias, padding=1)) for x in features]
        if index in COMPARED:
            received, expected = (x / x.norm(dim=1, keepdim=True) for x in features)
            head = heads[f"lin{COMPARED.index(index)}.model.1.weight"]
            total += (head * (received - expected).square()).sum(dim=1).mean(dim=(1, 2))
        index += 1
    return total


@pytest.fixture(scope="module")
def backbone() -> dict[str, Tensor]:
    return random_vgg16()


@pytest.fixture(scope="module")
def lpips(backbone: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Lpips:
    return Lpips(save_vgg16(backbone, tmp_path_factory.mktemp("vgg") / "vgg16.safetensors"))


def test_lpips_is_its_definition(backbone: dict[str, Tensor], lpips: Lpips) -> None:
    torch.manual_seed(1)
    images, targets = (torch.rand(2, 3, 32, 32) * 2 - 1 for _ in range(2))
    with torch.no_grad():
        received = lpips(images, targets)
    torch.testing.assert_close(received, defined_distance(backbone, images, targets), atol=1e-5, rtol=1e-4)


def test_lpips_has_gradients_for_the_images_only(lpips: Lpips) -> None:
    images = torch.zeros(1, 3, 32, 32, requires_grad=True)
    lpips(images, torch.ones(1, 3, 32, 32)).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert not any(parameter.requires_grad for parameter in lpips.parameters())
    assert isinstance(lpips, nn.Module)


def test_each_distance_tells_its_name(lpips: Lpips) -> None:
    assert lpips.name == "LPIPS (VGG16)"
    assert "substitute" in PerceptualDistance().name


def test_backbone_of_another_network_is_refused(backbone: dict[str, Tensor], tmp_path: Path) -> None:
    cut = {key: value for key, value in backbone.items() if key != "features.28.bias"}
    with pytest.raises(InputError, match=r"no tensor 'slice5\.28\.bias'"):
        Lpips(save_vgg16(cut, tmp_path / "cut.safetensors"))


def test_psnr_of_known_errors() -> None:
    targets = torch.full((2, 3, 4, 4), 0.5)
    images = targets + torch.tensor([0.1, 0.5])[:, None, None, None]
    torch.testing.assert_close(psnr(images, targets), torch.tensor([20.0, 6.0206]), atol=1e-3, rtol=0)
    assert psnr(targets, targets).isinf().all()
