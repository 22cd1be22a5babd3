"""Drift on the good images of a real class: `VIGIL_TEST_DATA` names a class folder in the MVTec layout."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from skimage import data
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from components.artifacts import to_tensor
from components.change.config import ChangeLimits
from components.change.rule import retrain_hint
from components.change.shift import Looks, looks_of
from components.decode import decode_image

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("VIGIL_TEST_DATA"), reason="VIGIL_TEST_DATA is not set"),
]

SIZE = 256
NEW = 5


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Up to forty good images."""
    root = Path(os.environ["VIGIL_TEST_DATA"])
    paths = sorted([*root.glob("train/good/*"), *root.glob("test/good/*")])
    chosen = np.random.default_rng(0).permutation(len(paths))[:40]
    return to_tensor([decode_image(paths[index], SIZE, paths[index].name)[0] for index in chosen])


@pytest.fixture(scope="module")
def looks(images: Tensor) -> Looks:
    return looks_of(images, "efficientnet-lite0")


def some(looks: Looks, chosen: npt.NDArray[np.int64]) -> Looks:
    statistics = {name: values[chosen] for name, values in looks.statistics.items()}
    return Looks(embeddings=looks.embeddings[chosen], statistics=statistics)


def test_false_alarms_are_as_stated(looks: Looks) -> None:
    generator = np.random.default_rng(0)

    def hint(seed: int) -> str:
        order = generator.permutation(len(looks))
        limits = ChangeLimits(permutations=199, seed=seed)
        return retrain_hint(some(looks, order[NEW:]), some(looks, order[:NEW]), limits).retrain

    repeats, alpha = 200, ChangeLimits().alpha
    alarms = [hint(seed) for seed in range(repeats)].count("yes")
    assert alarms <= repeats * alpha + 4 * np.sqrt(repeats * alpha * (1 - alpha))


def blurred(images: Tensor) -> Tensor:
    return gaussian_blur(images, [9, 9], [1.0, 1.0])  # type: ignore[no-any-return]


def exposed(images: Tensor) -> Tensor:
    return (images * 0.5).clamp(0, 1)


def other_object(images: Tensor) -> Tensor:
    brick = data.brick()
    tiles = [brick[row : row + SIZE, row : row + SIZE] for row in range(0, 256, 50)]
    return to_tensor([np.repeat(tile[..., None], 3, axis=2) for tile in tiles])


@pytest.mark.parametrize("change", [blurred, exposed, other_object])
def test_changes_are_found(images: Tensor, looks: Looks, change: Callable[[Tensor], Tensor]) -> None:
    new = looks_of(change(images[:NEW]), "efficientnet-lite0")
    hint = retrain_hint(some(looks, np.arange(NEW, len(looks))), new, ChangeLimits())
    assert hint.retrain == "yes"
