from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from components.artifacts import (
    ITERATIONS,
    STEPS,
    WEIGHTS,
    candidate_iterations,
    file_sha256,
    read_candidates,
    read_table,
)
from components.errors import InputError
from components.vqgan.config import Config
from components.vqgan.fine_tune import FineTuning, fine_tune, load_groups
from tests.components.image_sets import write_added, write_reference

CONFIG = Config(
    codebook_size=32, iterations=2, images=3, steps=3, batch_size=2, adversarial_start=2, learning_rate=1e-3
)


class Sets:
    def __init__(self, root: Path, given: int = 1) -> None:
        self.reference = write_reference(root / "reference", given=given, good=1, bad=1)
        sources = [f"train-good-{index}" for index in range(given)]
        self.augmented = write_added(root / "augmented", 4, sources)

    def run(self, root: Path, config: Config) -> list[tuple[int, int, Mapping[str, float]]]:
        told: list[tuple[int, int, Mapping[str, float]]] = []

        def on_step(step: int, total: int, scalars: Mapping[str, float]) -> None:
            told.append((step, total, scalars))

        fine_tune(self.reference, self.augmented, root / "candidates", root / "generator", config, on_step)
        return told


def test_loop_writes_every_candidate_set_and_tells_every_step(tmp_path: Path) -> None:
    told = Sets(tmp_path).run(tmp_path, CONFIG)
    assert [(step, total) for step, total, _ in told] == [(step, 6) for step in range(1, 7)]
    assert candidate_iterations(tmp_path / "candidates") == [0, 1]
    images = read_candidates(tmp_path / "candidates", 1)
    assert [image.shape for image in images] == [(64, 64, 3)] * 3
    assert read_table(tmp_path / "candidates" / STEPS)["total"].tolist() == [scalars["total"] for *_, scalars in told]
    rows = read_table(tmp_path / "candidates" / ITERATIONS)
    assert rows["iteration"].tolist() == [0, 1]
    assert rows["codes_used"].between(1, 32).all()


def test_adversarial_term_starts_at_its_step(tmp_path: Path) -> None:
    told = Sets(tmp_path).run(tmp_path, CONFIG)
    assert [scalars["discriminator"] > 0 for *_, scalars in told] == [False, False, True, True, True, True]
    assert all(scalars["adaptive_weight"] > 0 for *_, scalars in told[2:])


def test_total_is_equation_7(tmp_path: Path) -> None:
    config = Config(**{**vars(CONFIG), "vq_weight": 0.5, "perceptual_weight": 2.0})
    for *_, terms in Sets(tmp_path).run(tmp_path, config):
        adversarial = 0.8 * terms["adaptive_weight"] * terms["adversarial"]
        vq = terms["reconstruction"] + 2.0 * terms["perceptual"] + adversarial + terms["codebook"]
        assert terms["total"] == pytest.approx(terms["mse"] + 0.5 * vq, rel=1e-4)


def test_same_seed_gives_the_same_digits_and_another_seed_others(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    first, again = (sets.run(tmp_path / name, CONFIG) for name in ("first", "again"))
    other = sets.run(tmp_path / "other", Config(**{**vars(CONFIG), "seed": 1}))
    assert first == again
    assert first != other
    digests = {file_sha256(tmp_path / name / "generator" / WEIGHTS) for name in ("first", "again")}
    assert len(digests) == 1


def test_every_part_of_the_generator_is_updated(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    torch.manual_seed(0)
    loop = FineTuning(load_groups(sets.reference, sets.augmented), CONFIG)
    before = {name: value.detach().clone() for name, value in loop.model.named_parameters()}
    for _ in range(3):
        loop.step()
    changed = {
        name.split(".")[0] for name, value in loop.model.named_parameters() if not torch.equal(value, before[name])
    }
    assert changed == {"encoder", "quant_conv", "quantize", "post_quant_conv", "decoder"}


def test_loop_learns_the_given_image(tmp_path: Path) -> None:
    config = Config(**{**vars(CONFIG), "steps": 25, "adversarial_start": 1000, "learning_rate": 2e-3})
    told = Sets(tmp_path).run(tmp_path, config)
    first, last = told[0][2], told[-1][2]
    assert last["mse"] < first["mse"] / 2
    assert last["reconstruction"] < first["reconstruction"] / 1.5


def test_generated_images_are_spread_over_the_given_images(tmp_path: Path) -> None:
    sets = Sets(tmp_path, given=2)
    groups = load_groups(sets.reference, sets.augmented)
    assert [len(images) for _, images in groups] == [2, 2]
    assert FineTuning(groups, CONFIG).generate(5).shape == (5, 3, 64, 64)


def test_failure_leaves_no_artifact(tmp_path: Path) -> None:
    sets = Sets(tmp_path)

    def fail(step: int, total: int, scalars: Mapping[str, float]) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fine_tune(sets.reference, sets.augmented, tmp_path / "candidates", tmp_path / "generator", CONFIG, fail)
    assert {path.name for path in tmp_path.iterdir()} == {"reference", "augmented"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("architecture", "f8"), ("center", "median"), ("variance", "big"), ("iterations", 0), ("learning_rate", 1.0)],
)
def test_config_names_field_value_and_expectation(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"generator\.{field}: got {value!r}, expected"):
        Config(**{field: value})  # type: ignore[arg-type]
