"""The parts of the loop's arithmetic that have known answers."""

import torch

from components.vqgan.loop import mse_loss


def test_mse_is_the_mean_over_images_and_values() -> None:
    given = torch.zeros(1, 3, 2, 2)
    generated = torch.stack([torch.full((3, 2, 2), 1.0), torch.full((3, 2, 2), 3.0)])
    assert mse_loss(given, generated).item() == 5.0
