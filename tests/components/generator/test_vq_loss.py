from pathlib import Path

import pytest

from components.errors import InputError
from components.generator.vq_loss import load_perceptual
from components.networks.perceptual import PerceptualDistance


def test_stand_in_is_used_by_its_own_name_only() -> None:
    assert isinstance(load_perceptual("efficientnet", "vgg16"), PerceptualDistance)
    with pytest.raises(InputError, match="perceptual: got 'vgg', expected one of"):
        load_perceptual("vgg", "vgg16")


def test_missing_backbone_is_no_reason_to_fall_back(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file at"):
        load_perceptual("lpips", f"{tmp_path / 'vgg16.pth'}#sha256={'0' * 64}")
