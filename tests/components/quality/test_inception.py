"""The network of IS, FID and KID: its parts that differ from torchvision's, and its weights."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models.inception import Inception3

from components.artifacts import file_sha256
from components.errors import InputError
from components.quality.inception import FidInception, architecture, resize_like_tensorflow


def pooled(block: nn.Module, maps: Tensor) -> Tensor:
    """What the last branch of a block gets."""
    received: list[Tensor] = []
    last = block.branch_pool
    assert isinstance(last, nn.Module)
    with last.register_forward_pre_hook(lambda module, inputs: received.append(inputs[0])), torch.no_grad():
        block(maps)
    return received[-1]


@pytest.fixture(scope="module")
def network() -> Inception3:
    torch.manual_seed(0)
    built: Inception3 = architecture().eval()
    return built


@pytest.fixture(scope="module")
def reference(network: Inception3, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
    save_file(network.state_dict(), path)
    return f"{path}#sha256={file_sha256(path)}"


def test_tensors_have_the_names_of_torchvision(network: Inception3) -> None:
    expected = Inception3(aux_logits=False, init_weights=False).state_dict()
    assert list(network.state_dict()) == list(expected)
    shapes = {name for name, value in network.state_dict().items() if value.shape != expected[name].shape}
    assert shapes == {"fc.weight", "fc.bias"}


@pytest.mark.parametrize("name", ["Mixed_5b", "Mixed_5d", "Mixed_6b", "Mixed_6e", "Mixed_7b"])
def test_averages_leave_the_padding_out(network: Inception3, name: str) -> None:
    block = getattr(network, name)
    ones = torch.ones(1, block.branch_pool.conv.in_channels, 9, 9)
    torch.testing.assert_close(pooled(block, ones), ones)


def test_last_block_takes_the_maximum(network: Inception3) -> None:
    maps = torch.zeros(1, 2048, 7, 7)
    maps[:, :, 3, 3] = 9.0
    received = pooled(network.Mixed_7c, maps)
    assert (received[:, :, 2:5, 2:5] == 9).all()
    assert received.sum() == 9 * 9 * 2048


def test_resizing_takes_positions_as_tensorflow_does() -> None:
    row = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2)
    expected = torch.tensor([0.0, 0.5, 1.0, 1.0]).expand(1, 1, 4, 4)
    torch.testing.assert_close(resize_like_tensorflow(row, 4), expected)
    images = torch.rand(1, 3, 5, 5)
    torch.testing.assert_close(resize_like_tensorflow(images, 5), images)


def test_features_are_those_of_the_image_as_bytes(network: Inception3, reference: str) -> None:
    image = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(0))
    loaded = FidInception(reference)
    with torch.no_grad():
        expected = network((image * 255).round().sub(128).div(128))
    received = loaded.logits(loaded.features(image))
    torch.testing.assert_close(received, expected - network.fc.bias, atol=1e-4, rtol=1e-4)


def test_weights_of_torchvision_are_refused(network: Inception3, tmp_path: Path) -> None:
    other = network.state_dict() | {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    path = tmp_path / "torchvision.safetensors"
    save_file(other, path)
    with pytest.raises(InputError, match=r"tensor 'fc\.weight' has shape \[1000, 2048\], expected \[1008, 2048\]"):
        FidInception(f"{path}#sha256={file_sha256(path)}")
