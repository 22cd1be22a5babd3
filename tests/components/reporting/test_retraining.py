"""Tests of what a report says about the given images."""

from pathlib import Path

import pytest

from components.artifacts import CONFIG, new_image_set, write_json
from components.reporting.report import given_against_held_out
from components.reporting.sources import Sources
from tests.components.image_sets import part


def sources(root: Path, brightness: int, given: int = 6, held_out: int = 14) -> Sources:
    with new_image_set(root / "reference") as (writer, _):
        for index in range(given):
            writer.add(part(brightness, index), id=f"given-{index}", source="given")
        for index in range(held_out):
            writer.add(part(150, 50 + index), id=f"test-{index}", split="test", source="test")
        writer.add(part(20, 99), id="bad", split="test", label="bad", defect="dark", source="bad")
    (root / "best").mkdir()
    write_json(root / "best" / CONFIG, {"backbone": {"name": "efficientnet-lite0"}})
    nothing = root / "nothing"
    return Sources(root / "reference", nothing, nothing, nothing, nothing, nothing, nothing, root / "best")


@pytest.mark.parametrize(("brightness", "expected"), [(150, "no"), (110, "yes")])
def test_given_images_are_compared_with_good_test_images(tmp_path: Path, brightness: int, expected: str) -> None:
    hint = given_against_held_out(sources(tmp_path, brightness))
    assert hint.retrain == expected, hint.reasons
    assert (hint.new_images, hint.reference_images) == (6, 14)


def test_one_given_image_among_few_is_undecided(tmp_path: Path) -> None:
    assert given_against_held_out(sources(tmp_path, 110, given=1, held_out=4)).retrain == "unknown"
