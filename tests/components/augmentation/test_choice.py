"""The policy `auto` finds out how good parts differ from each other."""

import colorsys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from components.artifacts import ImageSet, new_image_set
from components.augmentation.augment import augment_images
from components.augmentation.choice import CANDIDATES, choose_policy
from components.augmentation.config import Config
from components.compute import rotate
from tests.components.trees import SIDE, UInt8Image

AUTO = Config(policy="auto", images=4)


def bar(degrees: float, seed: int) -> UInt8Image:
    """A bar with a light end, turned, on a dark ground with a little noise."""
    import torch

    image = torch.full((3, SIDE, SIDE), 40, dtype=torch.uint8)
    image[:, 28:36, 10:54] = 150
    image[:, 28:36, 10:18] = 230
    turned = rotate(image, degrees).permute(1, 2, 0).numpy().astype(int)
    return (turned + np.random.default_rng(seed).integers(0, 6, turned.shape)).clip(0, 255).astype(np.uint8)


def _mask(place: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[place : place + 8, 28:36] = True
    return mask


def tint(image: UInt8Image, hue: float) -> UInt8Image:
    """An image of grey levels in a strong colour, of a hue of the circle from 0 to 1."""
    colour = np.array(colorsys.hsv_to_rgb(hue, 0.7, 1.0))
    tinted: UInt8Image = (image * colour).astype(np.uint8)
    return tinted


def write_sets(root: Path, degrees: list[float], calibration: int = 0, *, tinted: bool = False) -> tuple[Path, Path]:
    """Given bars, the last ones as calibration images, and each with a faint blot, in another set."""
    reference, synthetic = root / "reference", root / "synthetic"
    images = {f"bar-{index}": bar(turn, index) for index, turn in enumerate(degrees)}
    if tinted:
        images = {id: tint(image, index / len(images)) for index, (id, image) in enumerate(images.items())}
    with new_image_set(reference) as (writer, _):
        for index, (id, image) in enumerate(images.items()):
            split = "train" if index < len(images) - calibration else "calibration"
            writer.add(image, id=id, source=f"{id}.png", split=split)
    with new_image_set(synthetic) as (writer, _):
        for index, (id, image) in enumerate(images.items()):
            for name, place in enumerate((8, 40)):
                spoilt = image.copy()
                spoilt[place : place + 8, 28:36] = (120, 60 + 20 * index, 30)
                blot = f"blot-{name}-{id}"
                writer.add(spoilt, id=blot, source=id, split="test", label="bad", defect="blot", mask=_mask(place))
    return reference, synthetic


def test_parts_that_lie_in_any_direction_are_rotated(tmp_path: Path) -> None:
    reference, synthetic = write_sets(tmp_path, [0, 75, 160, 290])

    choice = choose_policy(reference, synthetic, AUTO.replace(images=8))

    assert (choice.policy, choice.orientation_free) == ("rotations", True)
    assert choice.auroc["rotations"] == max(choice.auroc.values())
    joined = {f"rotations|{name}" for name in CANDIDATES if name != "rotations"}
    assert set(choice.auroc) == {"none", "photometric", *CANDIDATES, *joined}
    assert choice.reason.startswith("by synthetic defects on 4 held-out good images: AUROC of patches ")


def test_policies_are_joined_where_parts_differ_in_more_than_one_way(tmp_path: Path) -> None:
    reference, synthetic = write_sets(tmp_path, [0, 75, 160, 290, 40, 120], tinted=True)

    choice = choose_policy(reference, synthetic, AUTO.replace(images=8))

    assert set(choice.policy.split("|")) >= {"rotations", "hue"}
    assert choice.auroc[choice.policy] > max(choice.auroc[name] for name in CANDIDATES)


def test_images_are_those_of_the_chosen_policy(tmp_path: Path) -> None:
    reference, synthetic = write_sets(tmp_path, [0, 0, 0], calibration=2)

    result = augment_images(reference, tmp_path / "auto", AUTO, synthetic)

    augment_images(reference, tmp_path / "same", AUTO.replace(policy=result["policy"]))
    assert result["policy"] == "shifts"
    assert result["orientation_free_estimate"] is False
    assert result["policy_auroc_none"] >= 0.5
    assert ImageSet(tmp_path / "auto").digest == ImageSet(tmp_path / "same").digest


@pytest.mark.parametrize(("free", "policy"), [(False, "shifts"), (True, "rotations")])
def test_one_given_image_validates_nothing(tmp_path: Path, free: bool, policy: str) -> None:
    reference, synthetic = write_sets(tmp_path, [0])

    choice = choose_policy(reference, synthetic, AUTO.replace(orientation_free=free))

    assert (choice.policy, choice.auroc, choice.orientation_free) == (policy, {}, None)
    assert choice.reason == "not validated: that takes 2 held-out good images with synthetic defects; the default"


def test_auto_loads_the_backbone() -> None:
    assert AUTO.references == ("efficientnet-lite0",)
    assert Config().references == ()


def test_without_synthetic_defects_nothing_is_validated(tmp_path: Path) -> None:
    reference, _ = write_sets(tmp_path, [0, 0, 0])

    assert choose_policy(reference, None, AUTO).auroc == {}
