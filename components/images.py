"""Names and versions of the container images, by dependency family."""

import os
from typing import Literal

from components import __version__

Family = Literal["generation", "detection"]


def image(family: Family) -> str:
    """Immutable reference of the image of a dependency family.

    The tag is the project's version, so that the pipeline's cache keys change with the code.
    `VIGIL_IMAGE_REGISTRY` (read when the pipeline is compiled) puts a registry and path in front.
    """
    registry = os.environ.get("VIGIL_IMAGE_REGISTRY", "vigil")
    return f"{registry}/vigil-python-{family}:{__version__}"
