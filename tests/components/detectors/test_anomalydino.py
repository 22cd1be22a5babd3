"""AnomalyDINO's masks, on features whose principal component is known, against anomalib's."""

from typing import Any

import numpy as np
import pytest
import torch
from anomalib.models.image.anomaly_dino.torch_model import AnomalyDINOModel
from torch import Tensor

from components.detectors.anomalydino import AnomalyDino, foreground, principal_direction
from components.detectors.memory_bank import own_distances


def scene(seed: int, sign: float) -> Tensor:
    """Features [1, 16, 16, 24] of an object in the middle, which differ from the background's along one direction."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(16, 16, 24, generator=generator)
    direction = torch.nn.functional.normalize(torch.randn(24, generator=generator), dim=0)
    tokens[4:13, 3:12] += sign * 40 * direction
    return tokens.unsqueeze(0)


class Encoder(torch.nn.Module):
    """The features of a scene, whatever the images."""

    prefix, grid = 1, 16

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = torch.cat([torch.zeros(1, 1, 24), tokens.flatten(1, 2)], dim=1)

    def forward(self, images: Tensor) -> list[Tensor]:
        return [self.tokens.expand(len(images), -1, -1)]


def model(tokens: Tensor, foreground_masks: bool) -> Any:
    return AnomalyDino(Encoder(tokens), "max", foreground_masks)  # type: ignore[arg-type]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_masks_are_those_of_anomalib(sign: float) -> None:
    tokens = torch.cat([scene(0, sign), scene(1, sign)])
    expected = AnomalyDINOModel.compute_background_masks(tokens.flatten(1, 2).numpy(), (16, 16))
    assert np.array_equal(foreground(tokens).flatten(1).numpy(), expected)
    assert 0.3 < expected.mean() < 0.6


def test_direction_is_the_first_of_the_decomposition() -> None:
    rows = torch.randn(2, 100, 12, generator=torch.Generator().manual_seed(0))
    centred = rows - rows.mean(dim=1, keepdim=True)
    expected = torch.linalg.svd(centred).Vh[:, :1]
    assert float((expected @ principal_direction(centred)).abs().min()) > 0.999


def test_image_without_an_object_counts_whole() -> None:
    assert foreground(torch.randn(1, 16, 16, 24)).all()


def test_background_is_neither_kept_nor_scored() -> None:
    tokens, images = scene(0, 1.0), torch.zeros(1, 3, 224, 224)
    masked, whole = model(tokens, True), model(tokens, False)
    assert len(masked.rows(images)) == int(foreground(tokens).sum())
    assert len(whole.rows(images)) == 256
    for detector in (masked, whole):
        detector.bank.patches = detector.rows(images)
        detector.encoder.tokens = Encoder(tokens.index_fill(1, torch.tensor([0]), 3.0)).tokens
    assert float(masked(images).pred_score) < 1e-5
    assert not masked(images).anomaly_map[..., :14, :].any()
    assert float(whole(images).pred_score) > 0.1


def test_padding_and_background_are_both_left_out() -> None:
    tokens, images = scene(0, 1.0), torch.zeros(1, 3, 224, 224)
    detector, content = model(tokens, True), torch.zeros(16, 16, dtype=torch.bool)
    content[:, :8] = True
    detector.mask_padding(content)
    counted = foreground(tokens)[0] & content
    assert len(detector.rows(images)) == int(counted.sum())
    expected = own_distances(torch.nn.functional.normalize(tokens, dim=-1)[0], counted).square().amax() / 2
    torch.testing.assert_close(detector.own_scores(images)[0], expected)
