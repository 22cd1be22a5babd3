"""The memory bank against anomalib's PatchCore and against all pairs of distances."""

import pytest
import torch
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from torch import Tensor

from components.detectors import memory_bank
from components.detectors.config import Config
from components.detectors.detector import build_detector
from components.detectors.memory_bank import MemoryBank, own_distances
from components.detectors.patchcore import PatchCore
from components.detectors.scoring import highest


def test_scores_and_maps_are_those_of_anomalib_with_the_same_bank() -> None:
    model = build_detector(Config(image_score="max"), 64).eval()
    assert isinstance(model, PatchCore)
    images = torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    other = PatchcoreModel((2, 3), "tf_efficientnet_lite0", pre_trained=False, num_neighbors=9).eval()
    other.feature_extractor.feature_extractor.load_state_dict(model.encoder.body.state_dict())
    with torch.inference_mode():
        model.bank.patches = other.memory_bank = model.embed(images[:2]).flatten(0, 2)
        found = model(images[2:])
        expected = other((images[2:] - model.encoder.mean) / model.encoder.std)
    torch.testing.assert_close(found.pred_score, expected.pred_score.flatten(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.anomaly_map, expected.anomaly_map, rtol=1e-4, atol=1e-4)


def test_blocks_give_the_distance_to_the_nearest_of_all() -> None:
    generator = torch.Generator().manual_seed(0)
    bank, rows = MemoryBank(), torch.randn(1100, 5, generator=generator)
    bank.patches = torch.randn(2100, 5, generator=generator)
    torch.testing.assert_close(bank.distances(rows), torch.cdist(rows, bank.patches).amin(dim=1), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("share", "limit", "kept"), [(1.0, 100, 100), (0.05, 100, 60), (1.0, 2000, 1200)])
def test_stream_of_images_is_reduced_on_the_way(
    share: float, limit: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No more patches wait than four times the limit, and what is kept still covers all."""
    monkeypatch.setattr(memory_bank, "_MOST_WAITING_BYTES", 0)
    reduced = []
    choose = memory_bank.coreset

    def noted(patches: Tensor, count: int, seed: int) -> Tensor:
        reduced.append(len(patches))
        return choose(patches, count, seed)

    monkeypatch.setattr(memory_bank, "coreset", noted)
    patches = torch.rand(1200, 4, generator=torch.Generator().manual_seed(0))
    bank = MemoryBank()
    bank.fill(torch.split(patches, 100), share=share, limit=limit, seed=0)
    assert (len(bank.patches), bank.seen) == (kept, 1200)
    assert len(reduced) == (1 if limit == 2000 else 3)
    assert max(reduced) <= 4 * limit + 100
    assert float(bank.distances(patches).max()) < 0.8


def test_bank_of_many_images_covers_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a stream are chosen from apart and then together, twice: no patch is farther than from six coresets."""
    monkeypatch.setattr(memory_bank, "_MOST_WAITING_BYTES", 0)
    patches = torch.rand(6000, 3, generator=torch.Generator().manual_seed(0))
    bank, whole = MemoryBank(), MemoryBank()
    bank.fill(torch.split(patches, 50), share=1.0, limit=60, seed=0)
    whole.patches = memory_bank.coreset(patches, 60, 0)
    assert (len(bank.patches), bank.seen) == (60, 6000)
    assert float(bank.distances(patches).max()) < 2 * float(whole.distances(patches).max())


def test_patch_is_compared_with_patches_outside_of_its_window() -> None:
    """On a ramp along 16 columns, the nearest patch outside of a reach of 2 is 3 columns away."""
    ramp = torch.arange(16.0).double().expand(16, 16).unsqueeze(2)
    apart = torch.arange(16.0).view(16, 1, 1) * 1000 + ramp
    assert torch.equal(own_distances(ramp), torch.zeros(256).double())
    torch.testing.assert_close(own_distances(apart), torch.full((256,), 3.0).double())


def test_score_is_the_maximum_or_the_mean_of_the_highest_hundredth() -> None:
    maps = torch.arange(400.0).view(1, 1, 20, 20)
    assert highest(maps, "max").tolist() == [399.0]
    assert highest(maps, "top1").tolist() == [(399 + 398 + 397 + 396) / 4]
    assert highest(maps[..., :2, :2], "top1").tolist() == [21.0]
