"""Images are kept that bring unseen good ones nearer, and not those that show what a defect shows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from components.artifacts import PROMPTS, TREND, ImageSet, new_image_set, read_table, write_candidates, write_table
from components.errors import InputError
from components.selection.config import Config
from components.selection.integrate import NOTHING_ADDED, UNAVAILABLE, best_by_normality, select_images
from components.selection.normality import Normality, SetNormality
from tests.components.trees import SIDE, UInt8Image

BLOT = (slice(24, 40), slice(24, 40))


def striped(period: int, seed: int) -> UInt8Image:
    """Upright stripes with a little noise."""
    stripes = np.where((np.arange(SIDE) // period) % 2, 170, 70)
    image = np.broadcast_to(stripes[None, :, None], (SIDE, SIDE, 3))
    return (image + np.random.default_rng(seed).integers(0, 8, image.shape)).astype(np.uint8)


def spoilt(image: UInt8Image) -> UInt8Image:
    found = image.copy()
    found[BLOT] = (220, 30, 30)
    return found


def write_sets(root: Path, given: Sequence[UInt8Image], calibration: Sequence[UInt8Image]) -> tuple[Path, Path]:
    """Given and calibration images, and a red blot on each of them."""
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[BLOT] = True
    with new_image_set(root / "reference") as (writer, _), new_image_set(root / "synthetic") as (bad, _):
        for split, images in (("train", given), ("calibration", calibration)):
            for index, image in enumerate(images):
                id = f"{split}-{index}"
                writer.add(image, id=id, source=f"{id}.png", split=split)
                drawn = spoilt(image)
                bad.add(drawn, id=f"blot-{id}", source=id, split="test", label="bad", defect="blot", mask=mask)
    return root / "reference", root / "synthetic"


def write_loop(root: Path, sets: Sequence[Sequence[UInt8Image]], source: str = "train-0") -> Path:
    """Candidate sets, all sampled around one given image."""
    (root / "candidates").mkdir()
    for iteration, images in enumerate(sets):
        tensor = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
        write_candidates(root / "candidates", iteration, tensor, [source] * len(images))
    return root / "candidates"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Wide stripes are given, narrow ones held out; the second set shows narrow ones, and one with a blot."""
    root = tmp_path_factory.mktemp("normality")
    reference, synthetic = write_sets(root, [striped(16, 0)], [striped(4, 1), striped(4, 2)])
    useful, harmful = striped(4, 3), spoilt(striped(16, 0))
    return reference, synthetic, write_loop(root, [[harmful, harmful], [harmful, useful]])


def test_coverage_and_harm(run: tuple[Path, Path, Path]) -> None:
    normality = Normality(*run[:2])

    first, second = (normality.rate(run[2], iteration) for iteration in range(2))

    assert first == SetNormality()
    assert second.kept == (1,)
    assert second.coverage > 0.5
    assert second.coverage > second.harm
    assert normality.rate(run[2], 1, images=1) == SetNormality()


@pytest.mark.parametrize("by", ["normality", "both"])
def test_kept_images_are_written(run: tuple[Path, Path, Path], by: str, tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts")

    result = select(tmp_path, run, Config(by=by))

    assert (result["selected_iteration"], result["selected_by"], result["selected_images"]) == (1, by, 1)
    selected = ImageSet(tmp_path / "selected")
    assert np.abs(selected.image("generated-000").astype(int) - striped(4, 3)).max() <= 1
    trend = read_table(tmp_path / "selected" / TREND)
    assert trend["kept"].tolist() == [0, 1]
    assert "cosine" in trend


def test_text_alone_where_nothing_is_held_out(tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts")
    reference, synthetic = write_sets(tmp_path, [striped(16, 0)], [])
    candidates = write_loop(tmp_path, [[striped(16, 1)], [striped(4, 1)]])

    result = select(tmp_path, (reference, synthetic, candidates), Config(by="normality"))

    assert result["selected_by"] == f"text, since {UNAVAILABLE}"
    assert result["selected_iteration"] == result["best_iteration"]
    with pytest.raises(InputError, match=r"selection.by: got 'both', expected with it the reference set"):
        select_images(tmp_path / "prompts", candidates, tmp_path / "none", Config(by="both"))


def test_text_alone_where_nothing_is_added(run: tuple[Path, Path, Path], tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts")
    harmful = write_loop(tmp_path, [[spoilt(striped(16, 0))]])

    result = select(tmp_path, (*run[:2], harmful), Config(by="normality"))

    assert (result["selected_by"], result["selected_images"]) == (f"text, since {NOTHING_ADDED}", 1)


def test_an_image_is_not_rated_by_the_given_one_that_it_was_made_from(tmp_path: Path) -> None:
    reference, synthetic = write_sets(tmp_path, [striped(16, 0), striped(4, 1)], [])
    candidates = write_loop(tmp_path, [[striped(4, 2)]], source="train-1")

    rated = Normality(reference, synthetic).rate(candidates, 0)

    # By the wide stripes alone: the narrow ones, which the image is like, are its own.
    assert rated.coverage < 0.1


def test_both_goes_by_the_text_among_the_sets_that_add_anything() -> None:
    sets = {0: SetNormality(kept=(0,), coverage=0.3, harm=0.1), 1: SetNormality(kept=(1,), coverage=0.2, harm=0.1)}
    sets[2] = SetNormality()
    trend = [
        {"iteration": key, "cosine": cosine, "coverage": found.coverage, "harm": found.harm, "kept": len(found.kept)}
        for (key, found), cosine in zip(sets.items(), (0.1, 0.5, 0.9), strict=True)
    ]
    picks = {by: best_by_normality(trend, sets, by) for by in ("normality", "both")}
    assert {by: pick and (pick.iteration, pick.images) for by, pick in picks.items()} == {
        "normality": (0, (0,)),
        "both": (1, (1,)),
    }
    assert best_by_normality(trend[2:], sets, "both") is None


def select(root: Path, run: tuple[Path, Path, Path], config: Config) -> dict[str, object]:
    reference, synthetic, candidates = run
    return select_images(
        root / "prompts", candidates, root / "selected", config, reference=reference, synthetic=synthetic
    )


def write_prompts(path: Path) -> None:
    path.mkdir()
    write_table(path / PROMPTS, pd.DataFrame({"prompt": ["a carpet"], "rank": [1], "cosine": [1.0]}))
