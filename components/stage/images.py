"""Names and versions of the container images, by dependency family, and the user that they run as."""

import os
from typing import Literal

from components import __version__
from components.errors import check

Family = Literal["cli", "generation", "detection"]

USER_ID = 10001
"""User and group of the images; never root."""


REGISTRY = "VIGIL_IMAGE_REGISTRY"


def registry() -> str:
    """Registry and path in front of the images' names; `vigil`, of this machine's own builds, where none is given."""
    return os.environ.get(REGISTRY, "vigil")


def check_registry() -> None:
    """Raise `InputError` unless the images' registry is given: a cluster would look for `vigil` on a public one."""
    expected = "registry and path in front of the images, such as registry.example/vision; nodes pull them from there"
    check(bool(os.environ.get(REGISTRY)), REGISTRY, os.environ.get(REGISTRY, ""), expected)


def image(family: Family) -> str:
    """Immutable reference of the image of a dependency family.

    The tag is the project's version, so that the pipeline's cache keys change with the code.
    `VIGIL_IMAGE_REGISTRY` (read when the pipeline is compiled) puts a registry and path in front.
    """
    return f"{registry()}/vigil-python-{family}:{__version__}"
