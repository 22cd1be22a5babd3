"""The files of golden numbers, which are those of a CPU, and an embedder that loads once."""

from pathlib import Path

import pytest
import torch

from components.networks import embedding
from tests.golden_numbers.golden import Golden


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests out where a GPU computes: it draws other random numbers from the same seed."""
    if torch.cuda.is_available():
        here = [item for item in items if Path(__file__).parent in item.path.parents]
        for item in here:
            item.add_marker(pytest.mark.skip(reason="the golden numbers are those of a CPU"))


@pytest.fixture
def golden(regenerate_golden: bool) -> Golden:
    """The files of golden numbers."""
    return Golden(regenerate_golden)


@pytest.fixture(scope="package")
def loaded_embedder() -> embedding.ConseEmbedder:
    """The embedder that ships; it takes seconds to load."""
    return embedding.ConseEmbedder()


@pytest.fixture
def one_embedder(loaded_embedder: embedding.ConseEmbedder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every stage of a test the embedder that is loaded."""
    monkeypatch.setattr(embedding, "ConseEmbedder", lambda: loaded_embedder)
