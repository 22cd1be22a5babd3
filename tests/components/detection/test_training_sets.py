from pathlib import Path

import numpy as np
import pytest
import torch

from components.artifacts import ImageSet, new_image_set
from components.detection.training_sets import Sources, load_training_set
from components.detectors.config import Config
from components.preprocessing.transform import PADDING, Preprocessing
from tests.components.image_sets import write_added, write_reference


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("none", 2),
        ("rotations", 16),
        ("augmented", 2 + 3),
        ("generated", 2 + 5),
        ("repeated", 2 + 5),
        ("rotations+generated", 16 + 5),
        ("shifts", 2 * 16),
        ("shifts+rotations", 2 * 16 * 8),
    ],
)
def test_each_set_holds_the_given_images_first_and_what_it_adds(tmp_path: Path, name: str, count: int) -> None:
    reference = write_reference(tmp_path / "reference")
    augmented = write_added(tmp_path / "augmented", 3, ["train-good-0"])
    selected = write_added(tmp_path / "selected", 5, ["iteration-000"])
    sources = Sources(reference=reference, augmented=augmented, selected=selected)
    images = load_training_set(sources, Config(training_set=name))
    given = ImageSet(reference)
    assert images.shape == (count, 3, 64, 64)
    torch.testing.assert_close(images[:2].cpu(), given.tensor(given.ids("train", "good")))


def test_shifts_move_an_image_by_less_than_a_stride_and_rotations_turn_them(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", given=1)
    sources = Sources(reference=reference, augmented=reference, selected=reference)
    shifts = load_training_set(sources, Config(training_set="shifts"))
    assert torch.equal(shifts[1:2][..., 2:], shifts[:1][..., :-2])
    assert torch.equal(shifts[15:16][..., 6:, 6:], shifts[:1][..., :-6, :-6])
    assert torch.equal(shifts[1:2][..., 1], shifts[:1][..., 1])
    turned = load_training_set(sources, Config(training_set="shifts+rotations", rotation_step=180))
    assert torch.equal(turned[17:18], shifts[1:2].flip(-1, -2))


def test_rotation_step_sets_the_number_of_copies(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference", given=1)
    config = Config(training_set="rotations", rotation_step=90)
    images = load_training_set(Sources(reference=reference, augmented=reference, selected=reference), config)
    assert len(images) == 4
    torch.testing.assert_close(images[2:3], images[:1].flip(-1, -2))
    assert torch.equal(images[torch.tensor([3, 0])], torch.cat([images[3:4], images[:1]]))


@pytest.mark.parametrize(
    ("name", "count"),
    [("none", 1), ("rotations", 8), ("augmented", 1 + 2), ("generated", 1 + 3), ("repeated", 1 + 5)],
)
def test_image_left_out_takes_along_all_that_was_made_of_it(tmp_path: Path, name: str, count: int) -> None:
    reference = write_reference(tmp_path / "reference")
    augmented = write_added(tmp_path / "augmented", 4, ["train-good-0", "train-good-1"])
    selected = write_added(tmp_path / "selected", 5, ["train-good-1", "train-good-0"])
    sources = Sources(reference=reference, augmented=augmented, selected=selected)
    images = load_training_set(sources, Config(training_set=name), without=["train-good-0"])
    assert len(images) == count
    torch.testing.assert_close(images[:1].cpu(), ImageSet(reference).tensor(["train-good-1"]))


def test_generated_images_of_unknown_source_are_left_out_with_any_image(tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "reference")
    selected = write_added(tmp_path / "selected", 5, ["iteration-000/000"])
    sources, config = (
        Sources(reference=reference, augmented=reference, selected=selected),
        Config(training_set="generated"),
    )
    assert len(load_training_set(sources, config)) == 2 + 5
    assert len(load_training_set(sources, config, without=["train-good-0"])) == 1


@pytest.mark.parametrize(("name", "count"), [("none", 2), ("rotations", 16), ("augmented", 2 + 3)])
def test_tiled_line_is_trained_on_tiles(tmp_path: Path, name: str, count: int) -> None:
    tiled = Preprocessing(image_size=32, content=(60, 32), tiles=(1, 2))
    image = np.random.default_rng(0).integers(0, 256, (32, 60, 3), dtype=np.uint8)
    with new_image_set(tmp_path / "reference") as (writer, directory):
        tiled.write(directory)
        writer.add(image, id="given", source="0.png")
    with new_image_set(tmp_path / "augmented") as (writer, _):
        for index in range(3):
            writer.add(image[:, :32], id=f"augmented-{index}", source="given", tile=index % 2)
    sources = Sources(reference=tmp_path / "reference", augmented=tmp_path / "augmented", selected=tmp_path / "none")

    images = load_training_set(sources, Config(training_set=name))[:]

    assert images.shape == (count, 3, 32, 32)
    tiles = np.stack([image[:, :32], image[:, 28:]])
    torch.testing.assert_close(images[:2] * 255, torch.from_numpy(tiles).permute(0, 3, 1, 2).float())


def test_rotation_leaves_the_padding_where_it_is(tmp_path: Path) -> None:
    wide = Preprocessing(image_size=64, content=(64, 16), keep_aspect=True)
    with new_image_set(tmp_path / "reference") as (writer, directory):
        wide.write(directory)
        writer.add(wide.place(np.full((16, 64, 3), 200, dtype=np.uint8), "image"), id="given", source="0.png")
    sources = Sources(**dict.fromkeys(("reference", "augmented", "selected"), tmp_path / "reference"))

    images = load_training_set(sources, Config(training_set="rotations"))[:] * 255

    assert len(images) == 8
    torch.testing.assert_close(images[:, :, 24:40], torch.full((8, 3, 16, 64), 200.0))
    assert (images[:, 0, :24] == PADDING[0]).all()
