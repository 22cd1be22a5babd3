"""Augmented sets are drawn by the seed, spread over the given images, and stay close to them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from components.artifacts import ImageSet, new_image_set
from components.augmentation.augment import augment_images
from components.augmentation.config import DRAWN, Config
from components.augmentation.policies import scaled
from components.errors import InputError
from components.preprocessing.transform import PADDING, Preprocessing
from components.vqgan.groups import load_groups
from tests.components.trees import SIDE, UInt8Image, noise, write_reference


def _gradient(slope: int) -> UInt8Image:
    ramp = 40 + slope * np.arange(SIDE, dtype=np.uint8)
    return np.stack([np.tile(ramp, (SIDE, 1)), np.tile(ramp[:, None], (1, SIDE)), np.full((SIDE, SIDE), 128)], axis=2)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """Image set of two smooth images."""
    return write_reference(tmp_path / "reference", [_gradient(1).astype(np.uint8), _gradient(3).astype(np.uint8)])


def _augment(reference: Path, name: str, config: Config) -> ImageSet:
    target = reference.parent / name
    result = augment_images(reference, target, config)
    images = ImageSet(target)
    expected = {"images": len(images.ids("train")), "augmented_digest": images.digest, "policy": config.policy}
    assert result == expected
    return images


@pytest.mark.parametrize("policy", DRAWN)
def test_seed_decides_the_set(reference: Path, policy: str) -> None:
    first = _augment(reference, "first", Config(policy=policy, orientation_free=True, images=4, seed=1))
    again = _augment(reference, "again", Config(policy=policy, orientation_free=True, images=4, seed=1))
    other = _augment(reference, "other", Config(policy=policy, orientation_free=True, images=4, seed=2))

    assert first.digest == again.digest
    assert first.digest != other.digest


@pytest.mark.parametrize("policy", DRAWN)
def test_every_policy_keeps_the_size(reference: Path, policy: str) -> None:
    images = _augment(reference, "augmented", Config(policy=policy, orientation_free=True, images=3))

    assert images.tensor(images.ids("train", "good")).shape == (6, 3, SIDE, SIDE)
    assert set(images.manifest["width"]) == set(images.manifest["height"]) == {SIDE}


def test_strength_zero_copies_the_image(reference: Path) -> None:
    images = _augment(reference, "augmented", Config(images=6, strength=0.0))

    given = ImageSet(reference)
    for row in images.manifest.itertuples():
        np.testing.assert_array_equal(images.image(str(row.id)), given.image(str(row.source)))


def test_photometric_images_are_close_to_the_given_one_and_not_equal(reference: Path) -> None:
    images = _augment(reference, "augmented", Config(images=8))

    given = ImageSet(reference)
    for row in images.manifest.itertuples():
        difference = np.abs(images.image(str(row.id)).astype(int) - given.image(str(row.source)))
        assert 0 < difference.mean() < 25


def _places(reference: Path, name: str, config: Config) -> list[float]:
    """How far a bright square is moved in each augmented image, in pixels."""
    images = _augment(reference, name, config)
    rows, columns = np.indices((SIDE, SIDE))
    centers = []
    for id in images.ids("train"):
        bright = images.image(id).max(axis=2) > 140
        centers.append((rows[bright].mean(), columns[bright].mean()))
    return [float(np.hypot(row - 11.5, column - 11.5)) for row, column in centers]


def test_photometric_policy_leaves_the_part_in_its_place_and_rotations_do_not(tmp_path: Path) -> None:
    image = np.full((SIDE, SIDE, 3), 40, dtype=np.uint8)
    image[8:16, 8:16] = 220
    reference = write_reference(tmp_path / "reference", [image])

    aligned = _places(reference, "aligned", Config(images=24))
    rotated = _places(reference, "rotated", Config(policy="rotations", orientation_free=True, images=24))

    assert 0 < max(aligned) < 2
    assert max(rotated) > 30


def test_more_strength_moves_the_images_farther(reference: Path) -> None:
    given = ImageSet(reference)

    def mean_difference(strength: float) -> float:
        images = _augment(reference, f"augmented-{strength}", Config(images=12, strength=strength))
        rows = images.manifest.itertuples()
        return float(
            np.mean([np.abs(images.image(str(row.id)) - given.image(str(row.source)).astype(float)) for row in rows])
        )

    assert mean_difference(0.3) < mean_difference(1.0) < mean_difference(3.0)


def test_images_are_spread_over_the_given_ones_in_turn(reference: Path) -> None:
    images = _augment(reference, "augmented", Config(images=2))

    assert list(images.manifest["source"]) == ["given-0", "given-1", "given-0", "given-1"]
    assert list(images.manifest["id"]) == [f"augmented-{index:03d}" for index in range(4)]
    assert set(images.manifest["split"]) == {"train"}
    assert set(images.manifest["label"]) == {"good"}


def test_each_given_image_is_augmented_twice_at_least(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(seed) for seed in range(3)])

    images = _augment(reference, "augmented", Config(images=1))

    assert list(images.manifest["source"]) == ["given-0", "given-1", "given-2"] * 2


def test_shifts_and_flips_make_each_image_once(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(0)])
    given = ImageSet(reference).image("given-0")

    flips = _augment(reference, "flips", Config(policy="flips"))
    shifts = _augment(reference, "shifts", Config(policy="shifts", images=40))

    found = {flips.image(id).tobytes() for id in flips.ids("train")}
    assert found == {array.tobytes() for array in (given[::-1], given[:, ::-1], given[::-1, ::-1])}
    assert len(flips.ids("train")) == 3
    moved = [shifts.image(id)[8:, 8:].tobytes() for id in shifts.ids("train")]
    phases = [(down, right) for down in (0, 2, 4, 6) for right in (0, 2, 4, 6)][1:]
    assert sorted(moved) == sorted(
        given[8 - down : 64 - down, 8 - right : 64 - right].tobytes() for down, right in phases
    )


def test_joined_policies_are_applied_one_after_the_other(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(0)])
    given = ImageSet(reference).image("given-0").astype(int)

    images = _augment(reference, "joined", Config(policy="flips+hue", images=4))

    turned = [given, given[::-1], given[:, ::-1], given[::-1, ::-1]]
    found = set()
    for id in images.ids("train"):
        image = images.image(id).astype(int)
        brightest = [np.abs(image.max(axis=2) - other.max(axis=2)).max() for other in turned]
        assert min(brightest) <= 2
        found.add(int(np.argmin(brightest)))
        assert min(np.abs(image - other).mean() for other in turned) > 2
    assert found == {0, 1, 2, 3}


def test_joined_policies_that_are_limited_make_each_combination_once(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(0)])
    given = ImageSet(reference).image("given-0")

    images = _augment(reference, "joined", Config(policy="flips+shifts", images=63))

    found = {images.image(id).tobytes() for id in images.ids("train")}
    assert len(found) == 63
    assert given.tobytes() not in found
    assert {array.tobytes() for array in (given[::-1], given[:, ::-1], given[::-1, ::-1])} < found


def test_alternatives_make_images_of_their_own_in_turn(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(0)])

    images = _augment(reference, "either", Config(policy="flips|channels+shifts|hue", images=4))

    flips = _augment(reference, "flips", Config(policy="flips", images=4))
    made = [images.image(id).tobytes() for id in images.ids("train")]
    assert set(made[0:9:3]) == {flips.image(id).tobytes() for id in flips.ids("train")}
    assert len(made) == len(set(made)) == 3 + 4 + 4


def test_alternatives_are_bounded_together(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(0)])

    assert len(_augment(reference, "most", Config(policy="hue|scale|shifts", images=1000)).ids("train")) == 333 * 2 + 15
    assert len(_augment(reference, "least", Config(policy="hue|scale", images=1)).ids("train")) == 2


def test_channels_make_each_order_once(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(0)])
    given = ImageSet(reference).image("given-0")

    images = _augment(reference, "channels", Config(policy="channels"))

    orders = [(0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]
    found = sorted(images.image(id).tobytes() for id in images.ids("train"))
    assert found == sorted(given[:, :, list(order)].tobytes() for order in orders)


def test_limited_policies_that_are_joined_repeat_nothing(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(0)])

    images = _augment(reference, "joined", Config(policy="flips+channels", images=100))

    found = [images.image(id).tobytes() for id in images.ids("train")]
    assert len(found) == len(set(found)) == 4 * 6 - 1


def test_rotations_are_spread_evenly(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", [noise(0)])
    given = ImageSet(reference).image("given-0")

    images = _augment(reference, "turned", Config(policy="rotations", orientation_free=True, images=40))

    found = {images.image(id).tobytes() for id in images.ids("train")}
    assert len(found) == 15
    assert {np.rot90(given, quarters).tobytes() for quarters in (1, 2, 3)} < found


def test_small_moves_stay_small(tmp_path: Path) -> None:
    image = np.full((SIDE, SIDE, 3), 40, dtype=np.uint8)
    image[8:16, 8:16] = 220
    reference = write_reference(tmp_path / "reference", [image])

    turned = _places(reference, "turned", Config(policy="small_rotations", images=16))
    resized = _places(reference, "resized", Config(policy="scale", images=16))

    reach = np.hypot(20, 20)
    assert 0.5 < max(turned) < reach * np.radians(5) + 1
    assert 0.3 < max(resized) < reach * 0.05 + 1


def test_scaled_image_keeps_its_size_and_centre() -> None:
    image = torch.zeros(1, 3, 64, 48)
    image[..., 24:40, 16:32] = 1
    for factor, area in ((1.25, 400), (0.75, 144)):
        found = scaled(image, factor)
        assert found.shape == image.shape
        assert found[0, 0].sum() == pytest.approx(area, rel=0.05)
        assert found[0, 0, 24:40].sum(dim=1)[:8].flip(0) == pytest.approx(found[0, 0, 24:40].sum(dim=1)[8:], abs=1e-4)


def test_autoaugment_has_one_strength() -> None:
    assert Config(policy="autoaugment").strength == 1
    expected = "augmentation.strength: got 0.5, expected 1: the magnitudes of autoaugment are fixed"
    with pytest.raises(InputError, match=expected):
        Config(policy="autoaugment", strength=0.5)
    assert Config(policy="randaugment", strength=0.5).strength == 0.5


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("policy", "cutmix", "augmentation.policy: got 'cutmix', expected one of photometric, autoaugment"),
        ("policy", "rotations", "augmentation.policy: got 'rotations', expected another policy, or .*orientation_free"),
        ("policy", "hue+rotations", "augmentation.policy: got 'hue.rotations', expected another policy, or .*free"),
        ("policy", "hue+hue", "augmentation.policy: got 'hue.hue', expected one of .*, each once, joined by +"),
        ("policy", "hue|hue", "augmentation.policy: got 'hue.hue', expected one of .*, each once, joined by"),
        ("policy", "hue+scale|scale+hue", "augmentation.policy: got 'hue.scale.scale.hue', expected one of .*"),
        ("policy", "hue|", "augmentation.policy: got 'hue.', expected one of .*"),
        ("policy", "hue|rotations", "augmentation.policy: got 'hue.rotations', expected another policy, or .*free"),
        ("policy", "auto|hue", "augmentation.policy: got 'auto.hue', expected one of .*, or several but auto"),
        ("policy", "auto+hue", "augmentation.policy: got 'auto.hue', expected one of .*, or several but auto"),
        ("images", 0, "augmentation.images: got 0, expected 1 to 1000"),
        ("images", 1001, "augmentation.images: got 1001"),
        ("strength", -0.1, "augmentation.strength: got -0.1, expected 0 to 3"),
        ("seed", -1, "seed: got -1, expected 0 to 4294967295"),
    ],
)
def test_config_names_the_field_that_is_out_of_range(field: str, value: object, message: str) -> None:
    fields: dict[str, object] = {field: value}

    with pytest.raises(InputError, match=message):
        Config(**fields)  # type: ignore[arg-type]


def _preprocessed(tmp_path: Path, preprocessing: Preprocessing, images: list[UInt8Image]) -> Path:
    with new_image_set(tmp_path / "reference") as (writer, directory):
        preprocessing.write(directory)
        for index, image in enumerate(images):
            writer.add(image, id=f"given-{index}", source=f"{index}.png")
    return tmp_path / "reference"


@pytest.mark.parametrize("policy", DRAWN)
def test_padding_is_not_augmented(tmp_path: Path, policy: str) -> None:
    wide = Preprocessing(image_size=SIDE, content=(SIDE, 16), keep_aspect=True)
    reference = _preprocessed(tmp_path, wide, [wide.place(noise(0, 16, SIDE), "image")])

    images = _augment(reference, "augmented", Config(policy=policy, orientation_free=True, images=4))

    for id in images.ids("train"):
        image = images.image(id)
        assert (image[:24] == PADDING).all()
        assert (image[40:] == PADDING).all()


def test_tiles_are_augmented_one_by_one(tmp_path: Path) -> None:
    tiled = Preprocessing(image_size=SIDE, content=(120, SIDE), tiles=(1, 2))
    given = [noise(seed, SIDE, 120) for seed in range(2)]
    reference = _preprocessed(tmp_path, tiled, given)

    images = _augment(reference, "augmented", Config(strength=0, images=2))

    manifest = images.manifest
    assert manifest["source"].tolist() == ["given-0", "given-0", "given-1", "given-1"] * 2
    assert manifest["tile"].tolist() == [0, 1] * 4
    np.testing.assert_allclose(images.image("augmented-003"), given[1][:, 56:], atol=1)
    groups = load_groups(reference, images.path)
    assert [(len(own), len(augmented)) for own, augmented in groups] == [(1, 2)] * 4
    torch.testing.assert_close(groups[3][0][:], groups[3][1][:1], atol=0.02, rtol=0)
