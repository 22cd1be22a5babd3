from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from components.artifacts import PROMPTS, TREND, ImageSet, read_candidates, read_table, write_candidates, write_table
from components.errors import InputError
from components.networks.embedding import load_embedder
from components.selection.config import Config
from components.selection.integrate import chosen_iteration, select_images, similarity_trend

COLOURS = {"red": (1.0, 0.0, 0.0), "green": (0.0, 1.0, 0.0)}


class ColourEmbedder:
    """An image is its mean colour, a text the colour that it names; both as unit vectors."""

    name = "colour"
    digest = "0"

    def embed_images(self, images: Tensor) -> Tensor:
        return torch.nn.functional.normalize(images.mean(dim=(2, 3)), dim=1)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        return torch.tensor([COLOURS[text] for text in texts])


def coloured(red: float, green: float) -> Tensor:
    return torch.tensor([red, green, 0.0]).view(1, 3, 1, 1).expand(2, 3, 64, 64)


def write_sets(root: Path, sets: Sequence[Tensor]) -> Path:
    path = root / "candidates"
    path.mkdir()
    for iteration, images in enumerate(sets):
        write_candidates(path, iteration, images)
    return path


def test_trend_is_the_cosine_of_the_mean_vector_to_the_prompt(tmp_path: Path) -> None:
    mixed = torch.cat([coloured(1, 0)[:1], coloured(0, 1)[:1]])
    candidates = write_sets(tmp_path, [coloured(0, 1), mixed, coloured(1, 0)])
    trend = similarity_trend(candidates, "red", ColourEmbedder())
    assert [row["iteration"] for row in trend] == [0, 1, 2]
    assert [row["cosine"] for row in trend] == pytest.approx([0.0, np.sqrt(0.5), 1.0], abs=1e-6)


def test_best_set_is_written_with_its_trend(tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts", ["a cup of coffee", "a transistor"])
    candidates = write_sets(tmp_path, [torch.rand(2, 3, 64, 64, generator=torch.manual_seed(i)) for i in range(3)])
    result = select_images(tmp_path / "prompts", candidates, tmp_path / "selected", Config())
    trend = read_table(tmp_path / "selected" / TREND)
    assert result["best_iteration"] == int(trend["cosine"].argmax())
    assert result["worst_iteration"] == int(trend["cosine"].argmin())
    selected = ImageSet(tmp_path / "selected")
    assert selected.ids("train", "good") == ["generated-000", "generated-001"]
    assert selected.manifest["source"].tolist() == [f"iteration-{result['best_iteration']:03d}/00{i}" for i in range(2)]


def test_source_of_an_image_is_the_given_one_that_it_was_sampled_around(tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts", ["a transistor"])
    candidates, sources = tmp_path / "candidates", ["train-good-1", "train-good-0"]
    candidates.mkdir()
    write_candidates(candidates, 0, torch.rand(2, 3, 64, 64), sources)
    select_images(tmp_path / "prompts", candidates, tmp_path / "selected", Config())
    assert ImageSet(tmp_path / "selected").manifest["source"].tolist() == sources
    assert len(read_candidates(candidates, 0)) == 2


def test_config_refuses_an_unknown_embedder() -> None:
    with pytest.raises(InputError, match="embedder: got 'clip'"):
        Config(embedder="clip")


def write_prompts(path: Path, prompts: Sequence[str]) -> None:
    path.mkdir()
    ranks = range(1, len(prompts) + 1)
    write_table(
        path / PROMPTS, pd.DataFrame({"prompt": prompts, "rank": ranks, "cosine": [1 / rank for rank in ranks]})
    )


def test_only_the_first_images_of_a_set_count_when_fewer_are_taken(tmp_path: Path) -> None:
    candidates = write_sets(tmp_path, [torch.cat([coloured(1, 0)[:1], coloured(0, 1)[:1]])])
    assert similarity_trend(candidates, "red", ColourEmbedder(), 1)[0]["cosine"] == pytest.approx(1.0)
    write_prompts(tmp_path / "prompts", ["a transistor"])
    select_images(tmp_path / "prompts", candidates, tmp_path / "selected", Config(images=1))
    assert ImageSet(tmp_path / "selected").ids("train", "good") == ["generated-000"]


def test_more_images_than_a_set_has_are_refused(tmp_path: Path) -> None:
    candidates = write_sets(tmp_path, [coloured(1, 0)])
    with pytest.raises(InputError, match=r"selection.images: got 3, expected at most 2"):
        similarity_trend(candidates, "red", ColourEmbedder(), 3)


TREND_ROWS = [{"iteration": 0, "cosine": 0.1}, {"iteration": 1, "cosine": 0.3}, {"iteration": 2, "cosine": 0.2}]


@pytest.mark.parametrize(
    ("config", "iteration"),
    [(Config(), 1), (Config(rule="last"), 2), (Config(rule="fixed"), 0), (Config(rule="fixed", iteration=2), 2)],
)
def test_rule_takes_an_iteration(config: Config, iteration: int) -> None:
    assert chosen_iteration(TREND_ROWS, config) == iteration


def test_fixed_iteration_must_exist() -> None:
    with pytest.raises(InputError, match=r"selection.iteration: got 3, expected 0 to 2"):
        chosen_iteration(TREND_ROWS, Config(rule="fixed", iteration=3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rule": "first"}, "selection.rule: got 'first'"),
        ({"prompt": "nearest"}, "selection.prompt: got 'nearest'"),
        ({"prompt": "naive"}, "object: got ''"),
        ({"images": -1}, "selection.images: got -1"),
        ({"by": "eye"}, "selection.by: got 'eye'"),
        ({"by": "both", "rule": "last"}, "selection.by: got 'both', expected text, with selection.rule: last"),
    ],
)
def test_config_refuses(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**fields)


def test_prompt_of_a_kind_selects_another_set(tmp_path: Path) -> None:
    write_prompts(tmp_path / "prompts", ["a cup of coffee", "a transistor"])
    candidates = write_sets(tmp_path, [torch.rand(2, 3, 64, 64, generator=torch.manual_seed(i)) for i in range(3)])
    embedder = load_embedder("conse")
    for kind, prompt in {"worst": "a transistor", "word": "bolt"}.items():
        result = select_images(tmp_path / "prompts", candidates, tmp_path / kind, Config(object="bolt", prompt=kind))
        expected = similarity_trend(candidates, prompt, embedder)
        assert result["selected_prompt"] == prompt
        assert read_table(tmp_path / kind / TREND)["cosine"].tolist() == pytest.approx([r["cosine"] for r in expected])
