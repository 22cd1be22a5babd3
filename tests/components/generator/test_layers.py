"""The quick layers against torch's own, in double precision."""

from collections.abc import Callable

import pytest
import torch
from diffusers import VQModel
from torch import Tensor, nn
from torch.nn import functional

from components.generator.layers import NarrowGroupNorm, UpsamplingConvolution, quicken

Layer = Callable[[Tensor], Tensor]


def with_gradients(layer: Layer, images: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Values, and the gradients of a weighted sum of them for images and parameters."""
    images = images.detach().requires_grad_()
    values = layer(images)
    weights = torch.linspace(-1, 2, values.numel(), dtype=values.dtype).view_as(values)
    return [values, *torch.autograd.grad((weights * values.square()).sum(), [images, *parameters])]


def images(channels: int) -> Tensor:
    drawn = torch.randn(2, channels, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return (drawn + 0.5).to(memory_format=torch.channels_last)


def test_upsampling_convolution_is_nearest_neighbours_and_a_convolution() -> None:
    convolution = nn.Conv2d(4, 3, 3, padding=1).double()

    def plain(maps: Tensor) -> Tensor:
        return convolution(functional.interpolate(maps, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]

    parameters = list(convolution.parameters())
    quick = with_gradients(UpsamplingConvolution(convolution), images(4), parameters)
    torch.testing.assert_close(quick, with_gradients(plain, images(4), parameters))


@pytest.mark.parametrize("channels", [8, 3000])
def test_narrow_group_norm_has_the_gradients_of_group_norm(channels: int) -> None:
    quick = NarrowGroupNorm(channels // 2, channels, eps=1e-6).double()
    nn.init.normal_(quick.weight)
    nn.init.normal_(quick.bias)
    parameters = list(quick.parameters())

    def plain(maps: Tensor) -> Tensor:
        return functional.group_norm(maps, channels // 2, quick.weight, quick.bias, 1e-6)

    found = with_gradients(quick, images(channels), parameters)
    torch.testing.assert_close(found, with_gradients(plain, images(channels), parameters))
    assert found[0].is_contiguous(memory_format=torch.channels_last)


def test_quicken_keeps_names_parameters_and_images() -> None:
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    model = VQModel(**blocks, block_out_channels=(8, 32), norm_num_groups=4, latent_channels=4)
    names, latents = list(model.state_dict()), torch.randn(1, 4, 4, 4)
    with torch.no_grad():
        before = model.decode(latents, force_not_quantize=True).sample
        quicken(model)
        after = model.decode(latents, force_not_quantize=True).sample
    assert list(model.state_dict()) == names
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    layers = [type(layer) for layer in model.modules()]
    assert layers.count(UpsamplingConvolution) == 1
    assert 0 < layers.count(NarrowGroupNorm) < layers.count(nn.GroupNorm) + layers.count(NarrowGroupNorm)
