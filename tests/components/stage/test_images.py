"""Image names carry the version and take their registry from the environment."""

from typing import get_args

import pytest

from components import __version__
from components.errors import InputError
from components.stage.images import Family, check_registry, image


@pytest.mark.parametrize("family", get_args(Family))
def test_name_carries_family_and_version(monkeypatch: pytest.MonkeyPatch, family: Family) -> None:
    monkeypatch.delenv("VIGIL_IMAGE_REGISTRY", raising=False)

    assert image(family) == f"vigil/vigil-python-{family}:{__version__}"


def test_registry_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIGIL_IMAGE_REGISTRY", "registry.example:5000/inspection")

    assert image("detection") == f"registry.example:5000/inspection/vigil-python-detection:{__version__}"


def test_cluster_needs_a_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="VIGIL_IMAGE_REGISTRY: got '', expected registry and path in front of the im"):
        check_registry()
    monkeypatch.setenv("VIGIL_IMAGE_REGISTRY", "registry.example")
    check_registry()
