from pathlib import Path

import pytest
import torch
from torch import nn

from components.errors import InputError
from components.generator.losses import PatchDiscriminator, adaptive_weight, hinge_loss, load_perceptual
from components.networks.perceptual import PerceptualDistance


def test_adaptive_weight_is_the_ratio_of_gradient_norms() -> None:
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    received = adaptive_weight((weight * 6).sum(), (weight * 2).sum(), weight)
    assert received.item() == pytest.approx(3.0, rel=1e-3)
    assert not received.requires_grad


def test_hinge_loss_of_known_logits() -> None:
    assert hinge_loss(torch.tensor([2.0, 0.0]), torch.tensor([-2.0, 1.0])).item() == pytest.approx((0.5 + 1.0) / 2)


def test_discriminator_judges_patches_and_learns_to_tell_two_images_apart() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(channels=8)
    real, generated = torch.full((1, 3, 64, 64), 0.5), torch.full((1, 3, 64, 64), -0.5)
    assert discriminator(real).shape == (1, 1, 6, 6)
    real = real + 0.1 * torch.randn_like(real)
    optimizer = torch.optim.Adam(discriminator.parameters(), 1e-3)
    for _ in range(30):
        loss = hinge_loss(discriminator(real), discriminator(generated))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert discriminator(real).mean() > discriminator(generated).mean() + 1


def test_perceptual_distance_is_zero_for_equal_images_and_grows_with_noise() -> None:
    distance = PerceptualDistance()
    torch.manual_seed(0)
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    noise = torch.randn_like(image)
    near, far = (distance((image + scale * noise).clamp(-1, 1), image).item() for scale in (0.05, 0.5))
    assert distance(image, image).item() == pytest.approx(0.0, abs=1e-6)
    assert 0 < near < far


def test_perceptual_distance_has_gradients_for_the_image_and_none_for_the_backbone() -> None:
    distance = PerceptualDistance()
    image = torch.zeros(1, 3, 64, 64, requires_grad=True)
    distance(image, torch.ones(1, 3, 64, 64)).sum().backward()
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in distance.parameters())


def test_substitute_is_used_by_its_own_name_only() -> None:
    assert isinstance(load_perceptual("efficientnet", "vgg16"), PerceptualDistance)
    with pytest.raises(InputError, match="perceptual: got 'vgg', expected one of"):
        load_perceptual("vgg", "vgg16")


def test_missing_backbone_is_no_reason_to_fall_back(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file at"):
        load_perceptual("lpips", f"{tmp_path / 'vgg16.pth'}#sha256={'0' * 64}")
