"""Names and versions of the container images, by dependency family, and the user that they run as."""

import os
from typing import Literal

from components import __version__

Family = Literal["cli", "generation", "detection"]

USER_ID = 10001
"""User and group of the images; never root."""


def registry() -> str:
    """Registry and path in front of the images' names, from `VIGIL_IMAGE_REGISTRY`."""
    return os.environ.get("VIGIL_IMAGE_REGISTRY", "vigil")


def image(family: Family) -> str:
    """Immutable reference of the image of a dependency family.

    The tag is the project's version, so that the pipeline's cache keys change with the code.
    `VIGIL_IMAGE_REGISTRY` (read when the pipeline is compiled) puts a registry and path in front.
    """
    return f"{registry()}/vigil-python-{family}:{__version__}"
