"""The loop's images, of which any number takes the same memory."""

import math
from pathlib import Path

import pytest
import torch

from components.artifacts import ImageSet
from components.generator.model import to_model_range
from components.vqgan.config import Config
from components.vqgan.groups import load_groups
from components.vqgan.loop import FineTuning
from tests.components.image_sets import SIZE, write_added, write_reference
from tests.components.tensor_memory import Peak

IMAGE_BYTES = 4 * 3 * SIZE * SIZE


def write_sets(root: Path, given: int) -> tuple[Path, Path]:
    reference = write_reference(root / "reference", given=given, good=0, bad=0)
    return reference, write_added(root / "augmented", 2 * given, [f"train-good-{index}" for index in range(given)])


def test_groups_hold_each_given_image_with_its_own_augmentations(tmp_path: Path) -> None:
    reference, augmented = write_sets(tmp_path, 2)
    groups = load_groups(reference, augmented)
    for index, (given, images) in enumerate(groups):
        assert torch.equal(given[:], to_model_range(ImageSet(reference).tensor([f"train-good-{index}"])))
        own = [f"added-{number:03d}" for number in (index, index + 2)]
        assert torch.equal(images[:], to_model_range(ImageSet(augmented).tensor(own)))


def test_fewer_augmentations_than_a_batch_holds_are_all_taken(tmp_path: Path) -> None:
    config = Config(weights="none", codebook_size=16, iterations=2, steps=1, batch_size=4, images=2)
    loop = FineTuning(load_groups(*write_sets(tmp_path, 1)), config)
    for _ in range(config.iterations):
        assert all(math.isfinite(value) for value in loop.update().values())
    assert sum(len(part) for part in loop.sample()) == 2


@pytest.mark.parametrize("covariance", ["independent", "lowrank"])
def test_memory_of_start_steps_and_sets_does_not_grow_with_the_given_images(tmp_path: Path, covariance: str) -> None:
    config = Config(weights="none", codebook_size=16, iterations=1, steps=1, batch_size=2, covariance=covariance)
    few, many = (peaks(tmp_path / str(given), given, config) for given in (10, 30))
    for name, most in few.items():
        assert many[name] < most + 3 * IMAGE_BYTES, name


def peaks(root: Path, given: int, config: Config) -> dict[str, int]:
    """Most bytes of tensors at one time, in the parts of the loop."""
    root.mkdir()
    reference, augmented = write_sets(root, given)
    with Peak() as start:
        loop = FineTuning(load_groups(reference, augmented), config)
    with Peak() as steps:
        loop.update()
        loop.update()
    with Peak() as sampling:
        assert sum(len(part) for part in loop.sample()) == max(given, config.images)
    return {"start": start.most, "steps": steps.most, "sampling": sampling.most}
