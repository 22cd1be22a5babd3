from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from components.artifacts import PROMPTS, TREND, ImageSet, read_table, write_candidates, write_table
from components.errors import InputError
from components.selection.config import Config
from components.selection.integrate import select_images, similarity_trend

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
        write_candidates(path, iteration, images, [{"iteration": iteration}])
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


def test_config_refuses_an_unknown_embedder() -> None:
    with pytest.raises(InputError, match="embedder: got 'clip'"):
        Config(embedder="clip")


def write_prompts(path: Path, prompts: Sequence[str]) -> None:
    path.mkdir()
    write_table(path / PROMPTS, pd.DataFrame({"prompt": prompts}))
