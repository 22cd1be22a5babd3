"""Rotation is exact by quarters and shows no black corners between them."""

import pytest
import torch

from components.artifacts import to_tensor
from components.compute import rotate
from tests.components.trees import noise


@pytest.mark.parametrize(("degrees", "quarters"), [(0, 0), (90, 1), (180, 2), (270, 3), (360, 0), (-90, 3), (450, 1)])
def test_quarters_are_exact(degrees: int, quarters: int) -> None:
    images = to_tensor([noise(0), noise(1)])

    assert torch.equal(rotate(images, degrees), torch.rot90(images, quarters, dims=(-2, -1)))


@pytest.mark.parametrize("degrees", [10.0, 45.0, 123.4, 300.0])
def test_even_image_stays_even_up_to_its_corners(degrees: float) -> None:
    images = torch.full((1, 3, 64, 64), 0.7)

    torch.testing.assert_close(rotate(images, degrees), images)


@pytest.mark.parametrize("degrees", [89.99, 90.01])
def test_angles_beside_a_quarter_turn_the_same_way(degrees: float) -> None:
    ramp = torch.linspace(0, 1, 64).expand(1, 3, 64, 64)

    torch.testing.assert_close(rotate(ramp, degrees), rotate(ramp, 90), atol=0.03, rtol=0)


def test_pixel_values_are_kept_in_the_range_of_the_image() -> None:
    rotated = rotate(to_tensor([noise(0)]), 30)

    assert 0 <= float(rotated.min()) <= float(rotated.max()) <= 1


@pytest.mark.parametrize("shape", [(3, 64, 64), (2, 3, 64, 64), (3, 48, 64)])
@pytest.mark.parametrize("degrees", [90.0, 17.0])
def test_shape_and_type_are_kept(shape: tuple[int, ...], degrees: float) -> None:
    rotated = rotate(torch.zeros(shape, dtype=torch.uint8), degrees)

    assert rotated.shape == shape
    assert rotated.dtype == torch.uint8
