from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from components.artifacts import CONFIG, WEIGHTS, file_sha256, read_json
from components.errors import InputError
from components.generator.checkpoint import CHECKPOINTS
from components.generator.model import build_generator, trained_on
from components.pretraining.config import Config as PretrainingConfig
from components.pretraining.crops import CropSampler, centre_crop, resized
from components.pretraining.pretrain import learning_rate_factor, perplexity, pretrain, split_images
from components.pretraining.sources import images_digest, read_sources
from components.vqgan.config import Config

SIDES = ((96, 64), (64, 80), (70, 70))

Reported = list[tuple[int, Mapping[str, float]]]
"""Step and scalars of each call."""


class Finished(NamedTuple):
    """A run with `settings`, which no test changes."""

    config: PretrainingConfig
    base: Path
    reported: Reported


def write_folders(root: Path) -> tuple[str, ...]:
    """Three photographs of unlike sizes in two folders."""
    generator = np.random.default_rng(0)
    paths = [root / "a" / "0.png", root / "a" / "deep" / "1.png", root / "b" / "2.jpg"]
    for path, (width, height) in zip(paths, SIDES, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    (root / "a" / "notes.txt").write_text("no image")
    return str(root / "a"), str(root / "b")


@pytest.fixture
def folders(tmp_path: Path) -> tuple[str, ...]:
    return write_folders(tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    root = tmp_path_factory.mktemp("finished")
    config = settings(write_folders(root))
    return Finished(config, root / "base", run(root, config))


def settings(folders: tuple[str, ...]) -> PretrainingConfig:
    return PretrainingConfig(
        sources=folders,
        codebook_size=16,
        steps=6,
        warmup=2,
        autoencoder_steps=2,
        batch_size=1,
        sizes=(32, 64),
        image_side=96,
        adversarial_start=0.5,
        restart_every=2,
        checkpoint_every=2,
    )


def run(root: Path, config: PretrainingConfig) -> Reported:
    reported: Reported = []
    pretrain(root / "base", config, lambda step, total, scalars: reported.append((step, scalars)))
    return reported


def killed(root: Path, config: PretrainingConfig, step: int) -> None:
    """Begin a run that is interrupted at a step."""

    def kill(reached: int, total: int, scalars: Mapping[str, float]) -> None:
        if reached == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(root / "base", config, kill)


def test_base_is_published_with_its_figures_and_loads_into_the_loop(finished: Finished) -> None:
    assert [step for step, _ in finished.reported] == [1, 2, 3, 4, 5, 6]
    weights = finished.base / WEIGHTS
    assert {value.dtype for value in load_file(weights).values()} == {torch.float16}
    content = read_json(finished.base / CONFIG)
    assert content["sha256"] == file_sha256(weights)
    figures = content["figures"]
    assert (figures["images"], figures["held_out"]) == (2, 1)
    assert 0 < figures["psnr"] < 40
    assert 1 <= figures["perplexity"] <= figures["codes_used"] <= 16
    model = build_generator(Config(codebook_size=16, weights=f"{weights}#sha256={content['sha256']}"))
    assert model.quantize.embedding.weight.dtype == torch.float32


def test_base_names_the_images_that_it_was_trained_on(finished: Finished) -> None:
    weights = finished.base / WEIGHTS
    base = Config(codebook_size=16, weights=f"{weights}#sha256={file_sha256(weights)}")
    seen = [file_sha256(path) for folder in finished.config.sources for path in Path(folder).rglob("*.*g")]
    assert trained_on(base, seen) == len(seen) == 3
    assert trained_on(base, ["0" * 64, seen[0]]) == 1
    assert trained_on(Config(), seen) == 0


def test_terms_start_one_after_the_other(finished: Finished) -> None:
    reported = [scalars for _, scalars in finished.reported]
    assert ["codebook" in scalars for scalars in reported] == [False, False, True, True, True, True]
    assert ["discriminator" in scalars for scalars in reported] == [False, False, False, True, True, True]
    assert ["codes_used" in scalars for scalars in reported] == [False, False, False, True, False, True]


def test_killed_run_goes_on_to_the_same_digits(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "checkpoints"))
    killed(tmp_path, finished.config, step=5)
    assert not (tmp_path / "base").exists()
    assert run(tmp_path, finished.config) == finished.reported[4:]
    assert file_sha256(tmp_path / "base" / WEIGHTS) == file_sha256(finished.base / WEIGHTS)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_unquantised_crops_are_decoded_as_by_an_autoencoder(tmp_path: Path, folders: tuple[str, ...]) -> None:
    config = settings(folders).replace(steps=3, adversarial_start=1.0)
    configs = {
        "autoencoder": config.replace(autoencoder_steps=3),
        "unquantised": config.replace(unquantised=1.0),
        "quantised": config.replace(unquantised=0.0),
    }
    losses = {name: run(tmp_path / name, one)[-1][1]["reconstruction"] for name, one in configs.items()}
    assert losses["unquantised"] == pytest.approx(losses["autoencoder"], rel=1e-5)
    assert losses["quantised"] != pytest.approx(losses["autoencoder"], rel=1e-3)


def test_seed_decides_the_digits(tmp_path: Path, folders: tuple[str, ...]) -> None:
    config = settings(folders).replace(steps=3)
    first, again = (run(tmp_path / name, config) for name in ("first", "again"))
    assert first == again
    assert run(tmp_path / "other", config.replace(seed=1)) != first


def test_training_lowers_the_loss_of_the_crops(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    folder = tmp_path / "ramps"
    folder.mkdir()
    for name, values in (("across", ramp[None, :, None]), ("down", ramp[::-1, None, None])):
        Image.fromarray(np.broadcast_to(values, (64, 64, 3)).copy()).save(folder / f"{name}.png")
    config = settings((str(folder),)).replace(steps=60, autoencoder_steps=60, warmup=5, batch_size=2, sizes=(32,))
    losses = [scalars["total"] for _, scalars in run(tmp_path, config)]
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])


def test_checkpoint_of_other_code_is_not_taken_up(
    tmp_path: Path, folders: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(folders).replace(steps=4)
    monkeypatch.setenv(CHECKPOINTS, str(tmp_path / "checkpoints"))
    killed(tmp_path, config, step=3)
    assert len(list((tmp_path / "checkpoints").iterdir())) == 1
    monkeypatch.setattr("components.pretraining.pretrain.code_digest", lambda: "0")
    assert run(tmp_path, config)[0][0] == 1


def test_images_are_ordered_by_content_and_counted_once(tmp_path: Path, folders: tuple[str, ...]) -> None:
    config = settings(folders).replace(sizes=(32,), image_side=48)
    images, digest, _ = read_sources(config)
    assert all(max(image.shape) == 48 for image in images)
    other = tmp_path / "other"
    for path in sorted(Path(tmp_path).rglob("*.[pj]*g")):
        for copy in ("x", "y"):
            (other / copy).mkdir(parents=True, exist_ok=True)
            (other / copy / f"z{path.name}").write_bytes(path.read_bytes())
    again, same, _ = read_sources(config.replace(sources=(str(other),)))
    assert same == digest == images_digest(other.rglob("*.*g"))
    assert len(again) == 3
    assert all(torch.equal(*pair) for pair in zip(images, again, strict=True))


def test_held_out_images_are_not_trained_on(folders: tuple[str, ...]) -> None:
    images = [torch.full((3, 2, 2), index, dtype=torch.uint8) for index in range(10)]
    train, held_out = split_images(images, settings(folders).replace(held_out=0.25))
    assert (len(train), len(held_out)) == (8, 2)
    assert sorted(int(image[0, 0, 0]) for image in train + held_out) == list(range(10))


def test_step_size_rises_stays_and_falls_to_zero(folders: tuple[str, ...]) -> None:
    config = settings(folders).replace(steps=100, warmup=10, decay=0.5)
    assert learning_rate_factor(0, config) == pytest.approx(0.1)
    assert [learning_rate_factor(step, config) for step in (9, 30, 50)] == [1.0, 1.0, 1.0]
    assert learning_rate_factor(75, config) == pytest.approx(0.5)
    assert learning_rate_factor(99, config) == pytest.approx(0.02)
    longer = config.replace(steps=200)
    assert all(learning_rate_factor(step, config) == learning_rate_factor(step, longer) for step in range(50))


def test_perplexity_of_known_distributions() -> None:
    assert perplexity(torch.tensor([3.0, 3.0, 3.0, 0.0])) == pytest.approx(3.0)
    assert perplexity(torch.tensor([0.0, 5.0])) == pytest.approx(1.0)


def test_crops_of_a_step_depend_on_seed_and_step_alone(folders: tuple[str, ...]) -> None:
    images = [torch.randint(0, 256, (3, 200, 150), dtype=torch.uint8)]
    config = settings(folders)
    sampler = CropSampler(images, config)
    first = sampler.draw(7)
    sampler.draw(8)
    assert torch.equal(sampler.draw(7), first)
    assert not torch.equal(CropSampler(images, config.replace(seed=1)).draw(7), first)
    shapes = {tuple(sampler.draw(step).shape) for step in range(20)}
    assert shapes == {(1, 3, 32, 32), (1, 3, 64, 64)}
    assert all(-1 <= value <= 1 for value in (first.min(), first.max()))


def test_crop_of_a_flat_image_is_flat_at_any_scale(folders: tuple[str, ...]) -> None:
    flat = torch.full((3, 300, 210), 128, dtype=torch.uint8)
    sampler = CropSampler([flat], settings(folders).replace(colour_jitter=0.0))
    for step in range(10):
        torch.testing.assert_close(sampler.draw(step), torch.full_like(sampler.draw(step), 128 / 255 * 2 - 1))


def test_centre_crop_takes_the_middle() -> None:
    image = torch.zeros(3, 4, 8, dtype=torch.uint8)
    image[:, :, 2:6] = 255
    assert (centre_crop(image, 4) == 1).all()
    torch.testing.assert_close(resized(image[:, :, 2:6], 2), torch.ones(3, 2, 2))


def test_single_image_cannot_be_split(tmp_path: Path) -> None:
    folder = tmp_path / "one"
    folder.mkdir()
    Image.new("RGB", (64, 64)).save(folder / "0.png")
    with pytest.raises(InputError, match=r"pretraining\.sources: got .*, expected at least two images"):
        run(tmp_path, settings((str(folder),)))


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pretraining\.sources: .*nowhere is not a folder"):
        run(tmp_path, settings((str(tmp_path / "nowhere"),)))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("sources", ()),
        ("datasets", ({"uri": "x"},)),
        ("datasets.layout", ({"uri": "x", "layout": "png", "test_fraction": "0.2", "seed": "0"},)),
        ("datasets.test_fraction", ({"uri": "x", "layout": "folder", "test_fraction": "1.0", "seed": "0"},)),
        ("datasets.seed", ({"uri": "x", "layout": "folder", "test_fraction": "1e-05", "seed": "-1"},)),
        ("publish", "s3://weights"),
        ("licence", "free to use"),
        ("sizes", (48,)),
        ("image_side", 32),
        ("steps", 0),
        ("held_out", 1.0),
        ("decay", 2.0),
    ],
)
def test_config_names_field_value_and_expectation(field: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"pretraining\.{field}: got "):
        PretrainingConfig(**{"sources": ("x",), field.partition(".")[0]: value})  # type: ignore[arg-type]


def test_publishing_needs_a_licence() -> None:
    with pytest.raises(InputError, match=r"pretraining\.licence: got '', expected an SPDX expression"):
        PretrainingConfig(sources=("x",), publish="s3://weights/bases")
