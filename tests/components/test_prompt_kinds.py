"""Tests of the prompts that the paper compares."""

from pathlib import Path

import pytest

from components.artifacts import PROMPT_KINDS, PROMPTS, prompt_text, write_table
from components.errors import InputError


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    """A ranking in which the last row is not the worst: the outlier rule dropped a candidate near the image."""
    rows = [
        {"prompt": "a nut with a shell", "cosine": 0.9, "kept": True, "rank": 1},
        {"prompt": "a nut with a seed", "cosine": 0.1, "kept": True, "rank": 2},
        {"prompt": "a nut with a tree", "cosine": 0.5, "kept": False, "rank": 3},
    ]
    write_table(tmp_path / PROMPTS, rows)
    return tmp_path


def test_prompts_of_every_kind(prompts: Path) -> None:
    assert {kind: prompt_text(prompts, kind, "hazelnut") for kind in PROMPT_KINDS} == {
        "best": "a nut with a shell",
        "worst": "a nut with a seed",
        "word": "hazelnut",
        "naive": "a photo of a hazelnut",
    }


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("metal nut", "a photo of a metal nut"),
        ("Apple", "a photo of an Apple"),
        ("iron ring", "a photo of an iron ring"),
    ],
)
def test_naive_prompt_has_the_right_article(prompts: Path, name: str, prompt: str) -> None:
    assert prompt_text(prompts, "naive", name) == prompt


def test_another_kind_is_refused(prompts: Path) -> None:
    with pytest.raises(InputError, match="prompt: got 'nicest', expected one of best, worst, word, naive"):
        prompt_text(prompts, "nicest", "hazelnut")
