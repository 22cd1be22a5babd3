"""Synthetic defects are visible, marked by their masks, on the part, and drawn by the image's content and the seed."""

from pathlib import Path

import numpy as np
import pytest

from components.artifacts import ImageSet, new_image_set
from components.defect_synthesis.config import FAMILIES, Config
from components.defect_synthesis.families import DRAWN
from components.defect_synthesis.part import Part, find_foreground, perlin_noise
from components.defect_synthesis.synthesise import draw_defect, synthesise_defects
from components.errors import InputError
from tests.components.image_sets import SIZE, part, write_reference

PART = slice(12, 52)


def synthesise(reference: Path, name: str, config: Config) -> ImageSet:
    path = reference.parent / name
    result = synthesise_defects(reference, path, config)
    images = ImageSet(path)
    assert result["synthetic"] == len(images.manifest)
    assert result["synthetic"] == sum(result[f"synthetic_{family}"] for family in config.families)
    assert result["synthetic_digest"] == images.digest
    return images


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reference(tmp_path_factory.mktemp("sets") / "reference", given=3)


@pytest.fixture(scope="module")
def synthetic(reference: Path) -> ImageSet:
    return synthesise(reference, "synthetic", Config())


def test_families_are_those_that_are_drawn() -> None:
    assert tuple(DRAWN) == FAMILIES


def test_every_family_is_drawn_on_every_given_image_and_on_no_test_image(synthetic: ImageSet) -> None:
    pairs = set(zip(synthetic.manifest["source"], synthetic.manifest["defect"], strict=True))
    assert pairs == {(f"train-good-{index}", family) for index in range(3) for family in FAMILIES}
    assert set(synthetic.manifest["split"]) == {"test"}
    assert set(synthetic.manifest["label"]) == {"bad"}


@pytest.mark.parametrize("family", FAMILIES)
def test_images_differ_from_their_source_where_the_mask_is_and_nearly_nowhere_else(
    reference: Path, synthetic: ImageSet, family: str
) -> None:
    given = ImageSet(reference)
    for row in synthetic.manifest[synthetic.manifest["defect"] == family].itertuples():
        mask = synthetic.mask(str(row.id))
        change = np.abs(synthetic.image(str(row.id)).astype(int) - given.image(str(row.source))).max(axis=-1)
        assert mask is not None
        assert 8 <= mask.sum() < mask.size / 3
        assert change[mask].mean() >= 0.02 * 255
        assert change[~mask].mean() < 0.005 * 255


def test_defects_lie_on_the_part(synthetic: ImageSet) -> None:
    on_part = np.zeros((SIZE, SIZE), dtype=bool)
    on_part[PART, PART] = True
    masks = [synthetic.mask(str(id)) for id in synthetic.manifest["id"]]
    assert all(mask is not None and (mask & on_part).any() for mask in masks)


def test_another_image_moves_no_defect_and_another_seed_moves_them_all(
    reference: Path, synthetic: ImageSet, tmp_path: Path
) -> None:
    with new_image_set(tmp_path / "reference") as (writer, _):
        writer.add(part(90, 77), id="new", source="new.png")
        for id in ImageSet(reference).ids("train", "good"):
            writer.add(ImageSet(reference).image(id), id=f"renamed-{id}", source=id, split="calibration")
    more = synthesise(tmp_path / "reference", "synthetic", Config())
    digests = set(synthetic.manifest["sha256"])
    assert digests < set(more.manifest["sha256"])
    assert not digests & set(synthesise(reference, "other", Config(seed=1)).manifest["sha256"])


def test_limit_bounds_the_set_and_keeps_families_in_turn(reference: Path) -> None:
    images = synthesise(reference, "few", Config(limit=12))
    assert len(images.manifest) == 12
    assert images.manifest.groupby("source")["defect"].nunique().tolist() == [4, 4, 4]
    assert len(synthesise(reference, "two", Config(families=("blot", "missing"), per_image=4)).manifest) == 12


def test_foreground_is_the_part_and_a_texture_has_none() -> None:
    found = find_foreground(part(150, 0))
    expected = np.zeros((SIZE, SIZE), dtype=bool)
    expected[PART, PART] = True
    assert (found & expected).sum() / (found | expected).sum() > 0.8
    noise = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    assert find_foreground(noise).all()
    assert find_foreground(np.full((SIZE, SIZE, 3), 90, dtype=np.uint8)).all()


def test_invisible_defects_are_not_drawn() -> None:
    flat, everywhere = np.full((SIZE, SIZE, 3), 90, dtype=np.uint8), np.ones((SIZE, SIZE), dtype=bool)
    assert draw_defect("blur", Part.of(flat, everywhere, np.random.default_rng(0))) is None
    assert draw_defect("blot", Part.of(flat, everywhere, np.random.default_rng(0))) is not None


def test_perlin_noise_is_smooth_and_bounded() -> None:
    noise = perlin_noise((48, SIZE), 4, np.random.default_rng(0))
    assert noise.shape == (48, SIZE)
    assert 0.3 < np.abs(noise).max() <= 1.0
    assert np.abs(np.diff(noise, axis=1)).max() < 0.35


def test_unknown_or_doubled_families_are_refused() -> None:
    with pytest.raises(InputError, match=r"defect_synthesis.families: got 'dust', expected some of cut_paste"):
        Config(families=("dust",))
    with pytest.raises(InputError, match="each at most once"):
        Config(families=("blur", "blur"))
