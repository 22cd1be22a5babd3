"""The subspace that SubspaceAD keeps, on patches whose directions are known."""

import pytest
import torch

from components.detectors.subspacead import SubspaceAd


class Encoder(torch.nn.Module):
    """Tokens [n, 4, 3] of images that hold them in their first values."""

    prefix, grid = 0, 2

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [images.flatten(1)[:, :12].view(-1, 4, 3)]


def model() -> SubspaceAd:
    return SubspaceAd(Encoder(), "max")  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "directions"), [(0.5, 1), (0.95, 2), (0.9999, 3)])
def test_directions_explain_the_share_of_the_variance(share: float, directions: int) -> None:
    torch.manual_seed(0)
    rows = torch.randn(3000, 3) * torch.tensor([3.0, 1.0, 0.1]) + 5
    found = model()
    found.fit(torch.split(rows, 700), share)
    assert found.directions.shape == (directions, 3)
    torch.testing.assert_close(found.mean, rows.mean(dim=0), atol=1e-4, rtol=0)
    assert abs(float(found.directions[0, 0])) > 0.99


def test_score_is_the_squared_residual_of_the_worst_patch() -> None:
    found = model()
    along = torch.linspace(-1, 1, 50)
    found.fit([torch.stack([along, along, torch.zeros(50)], dim=1)], 0.99)
    patches = torch.zeros(2, 3, 64, 64)
    patches[0].view(-1)[:12] = torch.tensor([7.0, 7.0, 0.0] * 4)
    patches[1].view(-1)[:12] = torch.tensor([0.0, 0.0, 0.0] * 3 + [1.0, 1.0, 3.0])
    batch = found(patches)
    torch.testing.assert_close(batch.pred_score, torch.tensor([0.0, 9.0]), atol=1e-4, rtol=0)
    assert batch.anomaly_map.shape[-2:] == (64, 64)
