from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.experiments.request import Request
from pipelines.lines.demo import write_demo_line

TINY = (
    "dataset.image_size=64",
    "vqgan.iterations=2",
    "vqgan.steps=1",
    "vqgan.images=2",
    "vqgan.codebook_size=16",
    "vqgan.weights=none",
    "augmentation.images=2",
    "detection.rotation_step=180",
)
"""Settings with which every stage takes a second or less."""


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Root of the demo's class, `brick`."""
    return write_demo_line(tmp_path_factory.mktemp("experiments") / "data").parent


@pytest.fixture
def ask(data: Path) -> Callable[..., Request]:
    """Makes a request about the demo's class with tiny settings."""

    def request(name: str, **options: Any) -> Request:
        given = {"data": str(data), "classes": ["brick"], "seeds": "0", "copies": "1,2", "settings": TINY, **options}
        return Request(name=name, **given)

    return request
