"""The parts of the loop's arithmetic that have known answers."""

import pytest
import torch

from components.vqgan.loop import mse_loss


@pytest.mark.parametrize(("mean", "expected"), [("values", 5.0), ("images", 5.0 * 3 * 2 * 2)])
def test_mse_is_the_mean_over_values_or_over_images(mean: str, expected: float) -> None:
    given = torch.zeros(1, 3, 2, 2)
    generated = torch.stack([torch.full((3, 2, 2), 1.0), torch.full((3, 2, 2), 3.0)])
    assert mse_loss(given, generated, mean).item() == expected
