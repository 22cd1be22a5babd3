import pytest
import torch

from components.vqgan.alignment import aligned


@pytest.mark.parametrize("shift", [(0, 0), (3, -2), (-5, 6)])
def test_a_moved_image_is_moved_back(shift: tuple[int, int]) -> None:
    torch.manual_seed(0)
    scene = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 100, 100), 5, 1, 2)
    down, right = shift
    target = scene[..., 16:80, 16:80]
    moved = scene[..., 16 + down : 80 + down, 16 + right : 80 + right]
    found = aligned(torch.cat([moved, target]), target)
    inner = (slice(None), slice(None), slice(8, 56), slice(8, 56))
    torch.testing.assert_close(found[inner], target.expand(2, -1, -1, -1)[inner])


def test_an_image_moves_by_an_eighth_of_the_side_at_most() -> None:
    torch.manual_seed(0)
    scene = torch.rand(1, 3, 128, 64)
    moved = aligned(scene[..., 20:84, :], scene[..., :64, :])
    assert moved.shape == (1, 3, 64, 64)
    assert not torch.equal(moved, scene[..., :64, :])
