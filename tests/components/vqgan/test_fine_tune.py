import json
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from components.artifacts import (
    ITERATIONS,
    STEPS,
    WEIGHTS,
    ImageSet,
    candidate_iterations,
    candidate_sources,
    file_sha256,
    read_candidates,
    read_table,
)
from components.errors import InputError
from components.generator.checkpoint import CHECKPOINTS
from components.generator.model import (
    TRAINED_ON,
    build_generator,
    decode,
    encode,
    quantise,
    save_generator,
    to_image_range,
)
from components.vqgan.config import Config
from components.vqgan.fine_tune import fine_tune, images_of_base
from components.vqgan.groups import Groups, load_groups
from components.vqgan.loop import FineTuning
from tests.components.image_sets import write_added, write_reference

CONFIG = Config(
    weights="none",
    codebook_size=32,
    iterations=2,
    images=3,
    steps=3,
    batch_size=2,
    adversarial_start=1 / 3,
    learning_rate=1e-3,
)


Reported = list[tuple[int, int, Mapping[str, float]]]
"""Step, number of steps and scalars of each call."""


class Sets:
    def __init__(self, root: Path, given: int = 1) -> None:
        self.reference = write_reference(root / "reference", given=given, good=1, bad=1)
        sources = [f"train-good-{index}" for index in range(given)]
        self.augmented = write_added(root / "augmented", 4, sources)

    def run(self, root: Path, config: Config) -> Reported:
        reported: Reported = []

        def on_step(step: int, total: int, scalars: Mapping[str, float]) -> None:
            reported.append((step, total, scalars))

        fine_tune(self.reference, self.augmented, root / "candidates", root / "generator", config, on_step)
        return reported


class Finished(NamedTuple):
    """A run of the loop with `CONFIG`, which no test changes."""

    root: Path
    sets: Sets
    reported: Reported


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("finished")
    sets = Sets(root)
    return Finished(root, sets, sets.run(root, CONFIG))


def test_loop_writes_every_candidate_set_and_reports_every_step(finished: Finished) -> None:
    root, reported = finished.root, finished.reported
    assert [(step, total) for step, total, _ in reported] == [(step, 6) for step in range(1, 7)]
    assert candidate_iterations(root / "candidates") == [0, 1]
    images = read_candidates(root / "candidates", 1)
    assert [image.shape for image in images] == [(64, 64, 3)] * 3
    given = ImageSet(root / "reference").ids("train", "good")
    assert [candidate_sources(root / "candidates", iteration) for iteration in (0, 1)] == [given[:1] * 3] * 2
    assert all(scalars["images_per_second"] > 0 for *_, scalars in reported)
    assert ["codes_used" in scalars for *_, scalars in reported] == [False, False, True, False, False, True]
    assert read_table(root / "candidates" / STEPS)["total"].tolist() == [scalars["total"] for *_, scalars in reported]
    rows = read_table(root / "candidates" / ITERATIONS)
    assert rows["iteration"].tolist() == [0, 1]
    assert rows["codes_used"].between(1, 32).all()


def test_adversarial_term_starts_after_its_share_of_the_steps(finished: Finished) -> None:
    reported = finished.reported
    assert [scalars["discriminator"] > 0 for *_, scalars in reported] == [False, False, True, True, True, True]
    assert all(scalars["adaptive_weight"] > 0 for *_, scalars in reported[2:])


def test_total_is_equation_7(tmp_path: Path) -> None:
    weights = {"vq_weight": 0.5, "perceptual_weight": 2.0, "adversarial_weight": 0.8}
    reported = Sets(tmp_path).run(tmp_path, CONFIG.replace(steps=1, adversarial_start=0.5, **weights))
    assert [terms["discriminator"] > 0 for *_, terms in reported] == [False, True]
    for *_, terms in reported:
        adversarial = 0.8 * terms["adaptive_weight"] * terms["adversarial"]
        vq = terms["reconstruction"] + 2.0 * terms["perceptual"] + adversarial + terms["codebook"]
        assert terms["total"] == pytest.approx(terms["mse"] + 0.5 * vq, rel=1e-4)


def figures(reported: Reported) -> list[dict[str, float]]:
    """What was reported, without the speed."""
    return [{key: value for key, value in scalars.items() if key != "images_per_second"} for *_, scalars in reported]


def test_same_seed_gives_the_same_digits_and_another_seed_others(finished: Finished, tmp_path: Path) -> None:
    again = finished.sets.run(tmp_path / "again", CONFIG)
    other = finished.sets.run(tmp_path / "other", CONFIG.replace(seed=1, steps=1))
    assert figures(finished.reported) == figures(again)
    assert figures(finished.reported)[0]["mse"] != figures(other)[0]["mse"]
    digests = {file_sha256(root / "generator" / WEIGHTS) for root in (finished.root, tmp_path / "again")}
    assert len(digests) == 1


def test_configured_commitment_reaches_the_quantiser() -> None:
    assert FineTuning(two_far_shots(), CONFIG.replace(commitment=0.5)).model.quantize.beta == 0.5


def test_every_part_of_the_generator_is_updated(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    torch.manual_seed(0)
    loop = FineTuning(load_groups(sets.reference, sets.augmented), CONFIG)
    before = {name: value.detach().clone() for name, value in loop.model.named_parameters()}
    for _ in range(3):
        loop.update()
    changed = {
        name.split(".")[0] for name, value in loop.model.named_parameters() if not torch.equal(value, before[name])
    }
    assert changed == {"encoder", "quant_conv", "quantize", "post_quant_conv", "decoder"}


def test_loop_learns_the_given_image(tmp_path: Path) -> None:
    config = CONFIG.replace(iterations=1, steps=15, adversarial_start=1.0, learning_rate=4e-3)
    reported = Sets(tmp_path).run(tmp_path, config)
    first, last = reported[0][2], reported[-1][2]
    assert last["mse"] < first["mse"] / 2
    assert last["reconstruction"] < first["reconstruction"] / 1.5


def test_generated_images_are_spread_over_the_given_images(tmp_path: Path) -> None:
    sets = Sets(tmp_path, given=2)
    groups = load_groups(sets.reference, sets.augmented)
    assert [len(images) for _, images in groups] == [2, 2]
    parts = [*FineTuning(groups, CONFIG.replace(images=5)).sample()]
    assert [part.shape for part in parts] == [(count, 3, 64, 64) for count in (2, 1, 2)]


@torch.no_grad()
def test_several_shots_are_each_sampled_around_their_own_mean(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sets = Sets(tmp_path, given=2)
    groups = load_groups(sets.reference, sets.augmented)
    loop = FineTuning(groups, CONFIG.replace(variance="none", images=5))
    samples = torch.cat([*loop.sample()])
    for (_, images), own in zip(groups, (samples[:3], samples[3:]), strict=True):
        mean = quantise(loop.model, encode(loop.model, images[:]))[0].mean(dim=0, keepdim=True)
        expected = to_image_range(decode(loop.model, mean).cpu())
        torch.testing.assert_close(own, expected.expand_as(own), atol=3e-5, rtol=0)
    assert (samples[0] - samples[-1]).abs().max() > 1e-3


def two_far_shots() -> Groups:
    """A black and a white given image, each with two copies of itself."""
    shots = (torch.full((1, 3, 64, 64), value) for value in (-1.0, 1.0))
    return [(shot, shot.repeat(2, 1, 1, 1)) for shot in shots]


def test_codes_of_every_shot_survive_start_and_restart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    groups = two_far_shots()
    model = build_generator(CONFIG)
    with torch.no_grad():
        model.quantize.embedding.weight[2:] += 100
        for code, (given, _) in enumerate(groups):
            model.quantize.embedding.weight[code] = encode(model, given[:]).mean(dim=(0, 2, 3))
    save_generator(model, tmp_path, CONFIG, 0)
    weights = f"{tmp_path / WEIGHTS}#sha256={file_sha256(tmp_path / WEIGHTS)}"
    loop = FineTuning(groups, CONFIG.replace(weights=weights, steps=1, learning_rate=1e-9))
    expected = model.quantize.embedding.weight[:2].detach()
    torch.testing.assert_close(loop.model.quantize.embedding.weight[:2], expected)
    for _ in range(2):
        loop.update()
        loop.finish_iteration()
        torch.testing.assert_close(loop.model.quantize.embedding.weight[:2], expected)


def test_more_shots_than_images_have_one_each() -> None:
    loop = FineTuning(two_far_shots(), CONFIG.replace(variance="none", images=1))
    black, white = loop.sample()
    assert (black - white).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("center", ["mean", "own"])
def test_residual_images_differ_from_the_images_by_what_the_decoder_changes(tmp_path: Path, center: str) -> None:
    sets = Sets(tmp_path)
    groups = load_groups(sets.reference, sets.augmented)
    config = CONFIG.replace(decode="residual", center=center, temperature=0.0)
    base = groups[0][0][:] if center == "mean" else groups[0][1][:3]
    still = torch.cat([*FineTuning(groups, config).sample()])
    torch.testing.assert_close(still, to_image_range(base).expand(3, -1, -1, -1), atol=1e-5, rtol=0)
    moved = torch.cat([*FineTuning(groups, config.replace(temperature=1.0)).sample()])
    assert (moved - still).abs().max() > 1e-3


@torch.no_grad()
def test_variation_of_given_images_is_that_between_them() -> None:
    loop = FineTuning(two_far_shots(), CONFIG.replace(variation="given", covariance="lowrank"))
    latents = torch.cat([quantise(loop.model, encode(loop.model, given[:]))[0] for given, _ in loop._groups])
    found = loop._variation_of_batch(0)
    torch.testing.assert_close(found.variance("estimated"), latents.var(dim=0), atol=1e-5, rtol=1e-4)
    assert FineTuning(two_far_shots(), CONFIG)._variation_of_batch(0).variance("estimated").abs().max() == 0


def test_variation_of_one_given_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"vqgan\.variation: got 'given', expected augmentations, with 1 given image"):
        FineTuning(two_far_shots()[:1], CONFIG.replace(variation="given"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1e-3),
        ({"weights": "p#sha256=0", "architecture": "f16"}, 4.5e-6 * 2),
        ({"weights": "none", "architecture": "f16"}, 1e-3),
        ({"weights": "p#sha256=0", "architecture": "stored", "accumulate": 3}, 4.5e-6 * 6),
        ({"learning_rate": 0.5}, 0.5),
    ],
)
def test_step_size_suits_what_is_trained(changes: dict[str, Any], expected: float) -> None:
    config = CONFIG.replace(learning_rate=0.0).replace(**changes)
    assert config.step_size == pytest.approx(expected)


def test_base_that_has_seen_the_images_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sets = Sets(tmp_path)
    files = ImageSet(sets.reference).manifest.set_index("split")["sha256"]
    tensors = {name: value.contiguous() for name, value in build_generator(CONFIG).state_dict().items()}
    path = tmp_path / "base.safetensors"
    save_file(tensors, path, {TRAINED_ON: json.dumps([*files.loc[["test"]], "0" * 64])})
    base = CONFIG.replace(weights=f"{path}#sha256={file_sha256(path)}")
    assert images_of_base(sets.reference, base) == {"base_trained_on_test_images": 2}
    assert "was trained on 2 test images of this data set" in caplog.text
    assert images_of_base(sets.reference, CONFIG) == {}


def test_diverged_loop_says_so_and_leaves_no_artifact(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    with pytest.raises(
        RuntimeError, match=r"the loop diverged: the .+ not finite after \d+ steps; try a vqgan\.learning_rate"
    ):
        sets.run(tmp_path, CONFIG.replace(learning_rate=0.999, vq_weight=100.0, iterations=200, variance="unit"))
    assert {path.name for path in tmp_path.iterdir()} == {"reference", "augmented"}


def test_base_codes_that_the_images_do_not_use_start_on_their_latents(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    groups = load_groups(sets.reference, sets.augmented)
    torch.manual_seed(0)
    model = build_generator(CONFIG)
    with torch.no_grad():
        model.quantize.embedding.weight[1:] += 100
    save_generator(model, tmp_path, CONFIG, 0)
    base = CONFIG.replace(weights=f"{tmp_path / WEIGHTS}#sha256={file_sha256(tmp_path / WEIGHTS)}")
    before = model.quantize.embedding.weight
    moved, kept = (
        FineTuning(groups, base.replace(restart_codes=restart)).model.quantize.embedding.weight
        for restart in (True, False)
    )
    assert torch.equal(moved[0], before[0])
    assert float(moved.abs().max()) < 50
    assert torch.equal(kept, before)


class Killed(BaseException):
    pass


def killed_in_second_iteration(step: int, total: int, scalars: Mapping[str, float]) -> None:
    if step == 5:
        raise Killed


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({}, id="plain"),
        pytest.param(
            {"ema": 0.5, "accumulate": 2, "patience": 2, "precision": "bfloat16"},
            id="all options",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_killed_loop_goes_on_to_the_same_digits(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    sets, config = finished.sets, CONFIG.replace(**settings)
    whole = Finished(tmp_path / "whole", sets, sets.run(tmp_path / "whole", config)) if settings else finished
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "checkpoints"))
    arguments = (sets.reference, sets.augmented, tmp_path / "candidates", tmp_path / "generator", config)
    with pytest.raises(Killed):
        fine_tune(*arguments, killed_in_second_iteration)
    reported: Reported = []
    fine_tune(*arguments, lambda step, total, scalars: reported.append((step, total, scalars)))
    assert [(step, total) for step, total, _ in reported] == [(step, total) for step, total, _ in whole.reported]
    assert figures(reported) == figures(whole.reported)
    assert ["images_per_second" in scalars for *_, scalars in reported] == [False] * 3 + [True] * 3
    assert digests(tmp_path) == digests(whole.root)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def digests(root: Path) -> dict[str, str]:
    """Digests of what a loop wrote, without the table that holds its seconds."""
    files = [*(root / "candidates").iterdir(), root / "generator" / WEIGHTS]
    return {path.name: file_sha256(path) for path in files if path.name != ITERATIONS}


def test_other_settings_do_not_take_up_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "checkpoints"))
    sets, config = Sets(tmp_path), CONFIG.replace(steps=1)

    def kill(step: int, total: int, scalars: Mapping[str, float]) -> None:
        if step == 2:
            raise Killed

    with pytest.raises(Killed):
        fine_tune(sets.reference, sets.augmented, tmp_path / "candidates", tmp_path / "generator", config, kill)
    reported = sets.run(tmp_path, config.replace(seed=1))
    assert [step for step, *_ in reported] == [1, 2]
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1


def test_accumulated_step_is_the_step_of_the_joint_batch(tmp_path: Path) -> None:
    sets = Sets(tmp_path, given=2)
    (given, images), _ = load_groups(sets.reference, sets.augmented)
    weights = []
    for accumulate in (1, 3):
        torch.manual_seed(0)
        groups = [(given, images[:1])] * 3
        config = CONFIG.replace(accumulate=accumulate, batch_size=1, variance="none", adversarial_start=1.0)
        loop = FineTuning(groups, config)
        loop.update()
        weights.append(loop.model.encoder.conv_in.weight.detach().clone())
    torch.testing.assert_close(weights[0], weights[1])


def test_bfloat16_changes_a_step_by_its_rounding_and_keeps_weights_in_float32(finished: Finished) -> None:
    groups = load_groups(finished.sets.reference, finished.sets.augmented)
    scalars, gradients = [], []
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(0)
        loop = FineTuning(groups, CONFIG.replace(weights="base", codebook_size=512, precision=precision))
        scalars.append(loop.update())
        gradients.append(torch.cat([each.grad.flatten() for each in loop.model.parameters() if each.grad is not None]))
        assert {each.dtype for each in loop.model.state_dict().values()} == {torch.float32}
        assert all(part.dtype == torch.float32 for part in loop.sample())
    assert scalars[1]["total"] == pytest.approx(scalars[0]["total"], rel=0.03)
    assert scalars[1] != scalars[0]
    assert len(gradients[0]) == len(gradients[1])
    assert torch.nn.functional.cosine_similarity(gradients[0], gradients[1], dim=0) > 0.95


def test_average_lags_behind_the_weights(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    torch.manual_seed(0)
    loop = FineTuning(load_groups(sets.reference, sets.augmented), CONFIG.replace(ema=0.75))
    start = loop.model.decoder.conv_out.bias.detach().clone()
    loop.update()
    first = loop.model.decoder.conv_out.bias.detach().clone()
    loop.update()
    second = loop.model.decoder.conv_out.bias.detach()
    assert not torch.equal(start, first)
    torch.testing.assert_close(loop.averaged.decoder.conv_out.bias.detach(), 0.75 * first + 0.25 * second)


def test_restarted_codes_are_the_averages_too(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    loop = FineTuning(load_groups(sets.reference, sets.augmented), CONFIG.replace(ema=0.99))
    loop.update()
    loop.update()
    used = loop._used.clone()
    before = loop.averaged.quantize.embedding.weight.detach().clone()
    assert loop.finish_iteration()["codes_used"] == used.sum() < 32
    unmoved = loop.model.quantize.embedding.weight.detach().clone()
    torch.testing.assert_close(loop.model.quantize.embedding.weight, unmoved)
    loop._start_iteration()
    assert not torch.equal(loop.model.quantize.embedding.weight, unmoved)
    average, current = (model.quantize.embedding.weight for model in (loop.averaged, loop.model))
    assert torch.equal(average[~used], current[~used])
    assert torch.equal(average[used], before[used])


def test_loop_stops_when_the_sets_get_no_more_similar(tmp_path: Path) -> None:
    sets = Sets(tmp_path)
    config = CONFIG.replace(iterations=8, steps=1, patience=1, learning_rate=0.2)
    sets.run(tmp_path, config)
    trend = read_table(tmp_path / "candidates" / ITERATIONS)["similarity"].tolist()
    assert len(trend) < 8
    assert trend[-1] <= max(trend[:-1])
    assert all(later > earlier for earlier, later in pairwise(trend[:-1]))
    assert candidate_iterations(tmp_path / "candidates") == list(range(len(trend)))


def test_failure_leaves_no_artifact(tmp_path: Path) -> None:
    sets = Sets(tmp_path)

    def fail(step: int, total: int, scalars: Mapping[str, float]) -> None:
        raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        fine_tune(sets.reference, sets.augmented, tmp_path / "candidates", tmp_path / "generator", CONFIG, fail)
    assert {path.name for path in tmp_path.iterdir()} == {"reference", "augmented"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", "f8"),
        ("center", "median"),
        ("variance", "big"),
        ("iterations", 0),
        ("learning_rate", 1.0),
        ("ema", 1.0),
        ("perceptual", "vgg"),
        ("adversarial_start", 1.5),
        ("mse_mean", "pixels"),
        ("covariance", "full"),
        ("decode", "sharp"),
    ],
)
def test_config_names_field_value_and_expectation(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"vqgan\.{field}: got {value!r}, expected"):
        Config(**{field: value})  # type: ignore[arg-type]
