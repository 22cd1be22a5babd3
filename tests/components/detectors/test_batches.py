"""Batches by steps, and the images of EfficientAD's penalty."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from components.detectors.batches import drawn, encoded_batches
from components.detectors.efficientad import penalty_images
from components.errors import InputError


@pytest.mark.parametrize(("count", "size"), [(1, 2), (2, 2), (5, 2), (8, 2)])
def test_every_image_comes_before_any_comes_again(count: int, size: int) -> None:
    batches = list(drawn(count, size, 12, seed=0))
    assert [len(batch) for batch in batches] == [min(count, size)] * 12
    assert all(len(set(batch.tolist())) == len(batch) for batch in batches)
    first_pass = torch.cat(batches[: count // min(count, size)]).tolist()
    assert len(set(first_pass)) == len(first_pass)


def test_seed_decides_the_order() -> None:
    first, again, other = (torch.cat(list(drawn(9, 2, 20, seed))) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("count", [3, 70])
def test_batches_hold_the_features_of_their_images(count: int) -> None:
    """Whether they are kept or computed at each step."""
    images = torch.arange(float(count)).view(-1, 1, 1, 1).expand(-1, 3, 2, 2)
    batches = list(encoded_batches(lambda batch: [2 * batch[:, :1]], images, 5, seed=3))
    indices = list(drawn(count, 2, 5, seed=3))
    assert all(torch.equal(maps[0][:, 0, 0, 0], 2.0 * index) for maps, index in zip(batches, indices, strict=True))


def test_photographs_replace_imagenet() -> None:
    torch.manual_seed(0)
    images = penalty_images("", 64)
    drawn_images = [next(images) for _ in range(8)]
    assert all(image.shape == (1, 3, 64, 64) and 0 <= image.min() < image.max() <= 1 for image in drawn_images)
    assert any(not torch.equal(image[:, 0], image[:, 2]) for image in drawn_images)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.TIFF"])
def test_folder_of_images_at_any_depth(tmp_path: Path, name: str) -> None:
    (tmp_path / "n01440764").mkdir()
    Image.fromarray(np.full((20, 30, 3), 51, dtype=np.uint8)).save(tmp_path / "n01440764" / name)
    torch.testing.assert_close(next(penalty_images(str(tmp_path), 64)), torch.full((1, 3, 64, 64), 0.2))


@pytest.mark.parametrize(("name", "expected"), [("", "no images in .*"), ("missing", ".*missing is not")])
def test_folder_without_images_is_named(tmp_path: Path, name: str, expected: str) -> None:
    with pytest.raises(InputError, match=rf"detection\.imagenet_dir: {expected}"):
        next(penalty_images(str(tmp_path / name), 64))
