"""One seed decides every generator."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from components.compute import device, placed, seed_everything


@pytest.fixture(autouse=True)
def earlier_setting() -> Iterator[None]:
    """Give torch its setting back."""
    before = torch.are_deterministic_algorithms_enabled()
    yield
    torch.use_deterministic_algorithms(before)


def _draw(seed: int) -> tuple[float, float, float]:
    seed_everything(seed)
    return random.random(), float(np.random.random()), float(torch.rand(()))


def test_equal_seeds_draw_equal_numbers() -> None:
    assert _draw(3) == _draw(3)


def test_another_seed_changes_every_generator() -> None:
    assert all(first != second for first, second in zip(_draw(0), _draw(1), strict=True))


def test_torch_is_asked_for_deterministic_algorithms() -> None:
    torch.use_deterministic_algorithms(False)

    seed_everything(0)

    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_device_is_the_accelerator_where_there_is_one() -> None:
    assert device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_placed_networks_compute_in_channels_last() -> None:
    network = placed(torch.nn.Conv2d(3, 8, 3))
    computed = network(torch.rand(2, 3, 8, 8))
    assert computed.is_contiguous(memory_format=torch.channels_last)
    assert not computed.is_contiguous()
