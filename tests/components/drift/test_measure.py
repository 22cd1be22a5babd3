"""Tests of drift on tiny images, with a trained detector."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import PIL.Image
import pytest

from components.artifacts import DRIFT, ImageSet, new_image_set, read_json, to_tensor
from components.change.config import ChangeLimits
from components.change.good_images import GoodImages, good_images
from components.change.rule import retrain_hint
from components.change.shift import Looks, looks_of
from components.detection.train import train_detector
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import Detector
from components.drift.config import Config
from components.drift.measure import measure, measure_against, measure_since_training, write_drift
from components.errors import InputError
from tests.components.image_sets import part, write_added, write_reference

Image = npt.NDArray[np.uint8]
Change = Callable[[Image], Image]

CONFIG = Config(alpha=0.01, permutations=999)


def unchanged(image: Image) -> Image:
    return image


def brighter(image: Image) -> Image:
    changed: Image = np.clip(image.astype(int) + 40, 0, 255).astype(np.uint8)
    return changed


def blurred(image: Image) -> Image:
    from skimage.filters import gaussian

    changed: Image = (gaussian(image / 255, sigma=1.5, channel_axis=-1) * 255).astype(np.uint8)
    return changed


def other_object(image: Image) -> Image:
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    disc = np.hypot(rows - 32, columns - 32) < 18
    return np.where(disc[..., None], np.uint8(150), np.uint8(30)) + image % 12


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two given images, and twenty good ones held out."""
    return write_reference(tmp_path_factory.mktemp("drift") / "reference", given=2, good=20, bad=2)


@pytest.fixture(scope="module")
def detector(reference: Path) -> Path:
    added = write_added(reference.parent / "added", 4, ["train-good-0"])
    train_detector(reference, added, added, reference.parent / "detector", DetectorConfig(coreset_ratio=1.0))
    return reference.parent / "detector"


def write_new(path: Path, change: Change, count: int = 12, seed: int = 5_000) -> Path:
    with new_image_set(path) as (writer, _):
        for index in range(count):
            writer.add(change(part(150, seed + index)), id=f"new-{index}", source=f"<{index}>.png")
    return path


@pytest.mark.parametrize("seed", [1_000, 2_000, 5_000])
def test_same_distribution_gives_no_hint(reference: Path, detector: Path, tmp_path: Path, seed: int) -> None:
    found = measure(reference, write_new(tmp_path / "new", unchanged, seed=seed), detector, "bolts", CONFIG)
    assert found.hint.retrain == "no", found.hint.reasons


def test_false_alarms_over_draws_of_images_are_as_stated() -> None:
    images = to_tensor([part(150, seed) for seed in range(150)])
    pool, limits = looks_of(images, CONFIG.backbone), ChangeLimits(permutations=199, alpha=0.1, min_shift=0)
    generator = np.random.default_rng(0)

    def hint() -> str:
        order = generator.permutation(len(pool))
        return retrain_hint(_some(pool, order[:20]), _some(pool, order[20:32]), limits).retrain

    # 20 are expected; four standard deviations of the count over that.
    assert [hint() for _ in range(200)].count("yes") <= 20 + 4 * np.sqrt(200 * 0.1 * 0.9)


def _some(looks: Looks, chosen: npt.NDArray[np.int64]) -> Looks:
    statistics = {name: values[chosen] for name, values in looks.statistics.items()}
    return Looks(embeddings=looks.embeddings[chosen], statistics=statistics)


@pytest.mark.parametrize(
    ("change", "statistic", "grows"), [(brighter, "brightness", True), (blurred, "sharpness", False)]
)
def test_changed_images_give_a_hint_that_names_the_change(
    reference: Path, detector: Path, tmp_path: Path, change: Change, statistic: str, grows: bool
) -> None:
    hint = measure(reference, write_new(tmp_path / "new", change), detector, "bolts", CONFIG).hint
    assert hint.retrain == "yes"
    assert f"{statistic} " in hint.reasons[0]
    shift = hint.statistics[statistic]
    assert (shift.new > shift.reference) is grows


def test_other_object_gives_a_hint(reference: Path, detector: Path, tmp_path: Path) -> None:
    hint = measure(reference, write_new(tmp_path / "new", other_object), detector, "bolts", CONFIG).hint
    assert hint.retrain == "yes"
    assert hint.scores is not None
    assert hint.scores.superiority > 0.95


def test_looks_alone_need_no_detector(reference: Path, tmp_path: Path) -> None:
    found = measure(reference, write_new(tmp_path / "new", brighter), None, "bolts", CONFIG)
    assert found.hint.scores is None
    assert found.new_scores == []
    assert found.hint.retrain == "yes"
    assert "Plotly" not in found.html


def test_result_is_written_and_repeats(reference: Path, detector: Path, tmp_path: Path) -> None:
    new = write_new(tmp_path / "new", unchanged)
    first, second = (measure(reference, new, detector, "<b>bolts</b>", CONFIG) for _ in range(2))
    assert first.to_content() == second.to_content()
    write_drift(first, tmp_path / "drift", tmp_path / "drift.html")
    content = read_json(tmp_path / "drift" / DRIFT)
    assert content["retrain"] == "no"
    found = [row["score"] for row in content["new_scores"]]
    assert found == sorted((score for _, score in first.new_scores), reverse=True)
    assert len(found) == 12
    assert first.summary()["retrain_reasons"] == first.hint.reasons[0]
    html = (tmp_path / "drift.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;bolts" in html
    assert "<b>bolts" not in html
    assert first.new_scores[0][0].replace("<", "&lt;").replace(">", "&gt;") in html


def test_what_was_kept_with_the_detector_gives_what_its_images_give(
    reference: Path, detector: Path, tmp_path: Path
) -> None:
    new, loaded = write_new(tmp_path / "new", brighter), Detector(detector)
    good_images(ImageSet(reference), loaded).write(tmp_path)
    known = GoodImages.read(tmp_path)
    assert known is not None
    assert (len(known.looks), known.image_size, known.backbone) == (22, 64, CONFIG.backbone)
    kept = measure_against(known, new, loaded, "bolts", CONFIG, of="earlier images")
    read = measure(reference, new, detector, "bolts", CONFIG)
    assert (read.of, kept.of) == ("the data set", "earlier images")
    assert "22 good images of earlier images" in kept.html
    assert kept.hint.scores == read.hint.scores
    assert kept.hint.statistics == read.hint.statistics
    assert kept.hint.embedding is not None
    assert read.hint.embedding is not None
    assert kept.hint.embedding.distance == pytest.approx(read.hint.embedding.distance, rel=1e-4)
    assert kept.hint.embedding.p_value == pytest.approx(read.hint.embedding.p_value, abs=0.01)


def test_folder_of_new_images_is_compared_with_what_the_detector_keeps(
    reference: Path, detector: Path, tmp_path: Path
) -> None:
    kept = Path(shutil.copytree(detector, tmp_path / "detector"))
    new = ImageSet(write_new(tmp_path / "new", brighter))
    (tmp_path / "folder").mkdir()
    for id in new.ids("train"):
        PIL.Image.fromarray(new.image(id)).save(tmp_path / "folder" / f"{id}.png")
    with pytest.raises(InputError, match=r"detector: .* keeps no good images, expected those of efficientnet-lite0"):
        measure_since_training("bolts", str(tmp_path / "folder"), str(kept), CONFIG)
    good_images(ImageSet(reference), Detector(detector)).write(kept)
    found = measure_since_training("bolts", str(tmp_path / "folder"), str(kept), CONFIG)
    assert (found.hint.retrain, found.hint.new_images, found.of) == ("yes", 12, "the run that trained the detector")
    with pytest.raises(InputError, match="keeps those of efficientnet-lite0, expected those of efficientnet-lite2"):
        measure_since_training("bolts", str(tmp_path / "folder"), str(kept), Config(backbone="efficientnet-lite2"))


def test_detector_without_kept_images_has_none(detector: Path) -> None:
    assert GoodImages.read(detector) is None


def test_no_held_out_images_leave_no_scores(detector: Path, tmp_path: Path) -> None:
    with new_image_set(tmp_path / "given") as (writer, _):
        for index in range(2):
            writer.add(part(150, index), id=f"given-{index}", source="given")
    good_images(ImageSet(tmp_path / "given"), Detector(detector)).write(tmp_path)
    known = GoodImages.read(tmp_path)
    assert known is not None
    assert known.scores is None
    new = write_new(tmp_path / "new", unchanged)
    assert measure_against(known, new, Detector(detector), "bolts", CONFIG, of="x").hint.scores is None


def test_many_images_are_drawn_from(reference: Path, tmp_path: Path) -> None:
    hint = measure(
        reference, write_new(tmp_path / "new", unchanged), None, "bolts", Config(permutations=99, max_images=5)
    ).hint
    assert (hint.reference_images, hint.new_images) == (5, 5)


def test_no_images_are_refused(reference: Path, tmp_path: Path) -> None:
    new = write_new(tmp_path / "new", unchanged, count=1)
    with new_image_set(tmp_path / "test") as (writer, _):
        writer.add(part(150, 1), id="a", split="test", source="a")
    with pytest.raises(InputError, match="images: there is none"):
        measure(reference, tmp_path / "test", None, "bolts", CONFIG)
    assert measure(reference, new, None, "bolts", CONFIG).hint.reference_images == 22


def test_other_size_is_refused(reference: Path, tmp_path: Path) -> None:
    with new_image_set(tmp_path / "new") as (writer, _):
        writer.add(np.zeros((32, 32, 3), dtype=np.uint8), id="a", source="a")
    with pytest.raises(InputError, match="images: got 32 pixels, expected 64"):
        measure(reference, tmp_path / "new", None, "bolts", CONFIG)
