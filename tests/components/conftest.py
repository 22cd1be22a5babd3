"""Embedders that take seconds to load, shared by all tests of the components."""

import pytest

from components.networks.embedding import ConseEmbedder


@pytest.fixture(scope="session")
def conse() -> ConseEmbedder:
    """The embedder that needs no download."""
    return ConseEmbedder()
