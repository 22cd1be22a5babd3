from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from components.artifacts import PROMPTS, STEPS, ImageSet, file_sha256, read_table, write_table
from components.errors import InputError
from components.generator.model import build_generator, save_generator
from components.networks.embedding import ConseEmbedder
from components.vqgan.config import Config as GeneratorConfig
from components.vqgan_clip.config import Config
from components.vqgan_clip.generate import Painter, generate_from_text, spherical_distance
from tests.components.image_sets import SIZE, write_reference

CONFIG = Config(object="apple", codebook_size=32, steps=8, cutouts=2, batch_size=2, images=3)
COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0)}


class ColourEmbedder:
    """An image is its mean colour about grey, a text the colour that it names; both as unit vectors."""

    name = "colour"
    digest = "0"

    def image_vectors(self, images: Tensor) -> Tensor:
        return functional.normalize(images.mean(dim=(2, 3)) - 0.5, dim=1)

    def embed_images(self, images: Tensor) -> Tensor:
        return self.image_vectors(images)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([COLOURS[text] for text in texts])


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write_reference(tmp_path / "reference", given=2, good=1, bad=1)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts"
    path.mkdir()
    rows = [{"prompt": "a cup of coffee", "cosine": 0.3, "rank": 1}, {"prompt": "a cat", "cosine": 0.1, "rank": 2}]
    write_table(path / PROMPTS, rows)
    return path


class Painting:
    """Some steps of a painter from its seed: cosine of the images before and after, and what the steps reported."""

    def __init__(self, text: str, config: Config) -> None:
        torch.manual_seed(config.seed)
        painter = Painter(text, ColourEmbedder(), config)
        latents = painter.initial_latents(torch.zeros(2, 3, SIZE, SIZE))
        self.before = painter.cosine(painter.decode(latents))
        optimizer = painter.optimizer(latents)
        self.reported = [painter.step(latents, optimizer) for _ in range(config.steps)]
        self.images = painter.decode(latents).detach()
        self.after = painter.cosine(self.images)


@pytest.mark.parametrize("text", list(COLOURS))
def test_steps_bring_the_images_nearer_to_the_text(text: str) -> None:
    painting = Painting(text, CONFIG.replace(steps=15, learning_rate=0.5))
    assert painting.after > painting.before + 0.04
    assert 0 <= painting.images.min() <= painting.images.max() <= 1


def test_seed_decides_the_images() -> None:
    first, again, other = (Painting("red", CONFIG.replace(seed=seed, steps=3)) for seed in (0, 0, 1))
    assert first.reported == again.reported
    assert torch.equal(first.images, again.images)
    assert first.reported != other.reported


def test_generator_and_codebook_stay_as_they_are() -> None:
    torch.manual_seed(0)
    painter = Painter("red", ColourEmbedder(), CONFIG)
    before = {name: value.clone() for name, value in painter.model.state_dict().items()}
    latents = painter.initial_latents(torch.zeros(1, 3, SIZE, SIZE))
    painter.step(latents, painter.optimizer(latents))
    assert all(torch.equal(value, before[name]) for name, value in painter.model.state_dict().items())


def test_noise_starts_from_codes_and_given_from_the_given_image() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, SIZE, SIZE) * 2 - 1
    noise = Painter("red", ColourEmbedder(), CONFIG)
    codebook = noise.model.quantize.embedding.weight
    vectors = noise.initial_latents(image).permute(0, 2, 3, 1).flatten(0, 2)
    assert all((codebook == vector).all(dim=1).any() for vector in vectors)
    given = Painter("red", ColourEmbedder(), CONFIG.replace(init="given"))
    torch.testing.assert_close(given.initial_latents(image), given.model.encode(image).latents)


def test_latents_stay_within_the_range_of_the_codebook() -> None:
    torch.manual_seed(0)
    painter = Painter("red", ColourEmbedder(), CONFIG.replace(learning_rate=10.0))
    latents = painter.initial_latents(torch.zeros(1, 3, SIZE, SIZE))
    painter.step(latents, painter.optimizer(latents))
    low, high = torch.aminmax(painter.model.quantize.embedding.weight, dim=0)
    assert ((low.view(1, -1, 1, 1) <= latents) & (latents <= high.view(1, -1, 1, 1))).all()


def test_distance_of_known_angles() -> None:
    vectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    received = spherical_distance(vectors, torch.tensor([1.0, 0.0]))
    torch.testing.assert_close(received, torch.tensor([0.0, np.pi / 2, np.pi], dtype=torch.float32).square() / 2)


def test_painted_images_are_a_set_for_the_detector(
    tmp_path: Path, reference: Path, prompts: Path, conse: ConseEmbedder
) -> None:
    reported: list[tuple[int, int, Mapping[str, float]]] = []
    config = CONFIG.replace(images=2, batch_size=1, steps=2, cutouts=1)
    result = generate_from_text(
        reference, prompts, tmp_path / "selected", config, lambda *step: reported.append(step), conse
    )
    selected = ImageSet(tmp_path / "selected")
    assert selected.ids("train", "good") == ["painted-000", "painted-001"]
    assert selected.image("painted-001").shape == (SIZE, SIZE, 3)
    assert result["prompt"] == "a cup of coffee"
    assert result["generator_start"] == "untrained: it paints noise"
    assert result["embedder"].startswith("ConSE")
    assert -1 <= result["cosine"] <= 1
    assert [step[:2] for step in reported] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert read_table(tmp_path / "selected" / STEPS)["batch"].tolist() == [0, 0, 1, 1]


def test_trained_generator_is_loaded_by_reference(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = build_generator(GeneratorConfig(weights="none", codebook_size=32))
    save_generator(model, tmp_path, GeneratorConfig(weights="none", codebook_size=32), 0)
    path = tmp_path / "model.safetensors"
    weights = f"{path}#sha256={file_sha256(path)}"
    painter = Painter("red", ColourEmbedder(), CONFIG.replace(weights=weights))
    assert torch.equal(painter.model.quantize.embedding.weight, model.quantize.embedding.weight)


def test_set_without_given_images_is_named(tmp_path: Path, prompts: Path) -> None:
    reference = write_reference(tmp_path / "empty", given=0)
    with pytest.raises(InputError, match="reference: no good training image in it"):
        generate_from_text(reference, prompts, tmp_path / "selected", CONFIG)
    assert not (tmp_path / "selected").exists()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": "nicest"}, r"vqgan_clip\.prompt: got 'nicest', expected one of best, worst, word, naive"),
        ({"init": "zeros"}, r"vqgan_clip\.init: got 'zeros', expected one of noise, given"),
        ({"images": 0}, r"vqgan_clip\.images: got 0"),
        ({"steps": 0}, r"vqgan_clip\.steps: got 0"),
        ({"cutouts": 257}, r"vqgan_clip\.cutouts: got 257"),
        ({"learning_rate": 0.0}, r"vqgan_clip\.learning_rate: got 0\.0"),
        ({"cutout_size": 1.5}, r"vqgan_clip\.cutout_size: got 1\.5"),
        ({"architecture": "large"}, r"vqgan_clip\.architecture: got 'large'"),
        ({"embedder": "clip"}, "embedder: got 'clip'"),
        ({"seed": -1}, "seed: got -1"),
    ],
)
def test_config_names_field_and_value(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CONFIG.replace(**fields)
