"""Settings of the stage that draws synthetic defects."""

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from components.errors import check
from components.settings import Expected, Seed, Settings

FAMILIES = (
    "cut_paste",
    "scar",
    "texture",
    "blot",
    "scratch",
    "missing",
    "shifted",
    "blur",
    "colour",
)
"""Kinds of synthetic defects."""


def _known_families(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        check(name in FAMILIES, "defect_synthesis.families", name, f"some of {', '.join(FAMILIES)}")
    check(len(set(names)) == len(names), "defect_synthesis.families", list(names), "each at most once")
    return names


class Config(Settings):
    """Which synthetic defects are drawn on the good images that are given or held out for calibration."""

    section: ClassVar = "defect_synthesis"

    families: Annotated[
        tuple[str, ...],
        Field(strict=False, min_length=1, json_schema_extra={"items": {"enum": [*FAMILIES]}, "uniqueItems": True}),
        Expected(f"some of {', '.join(FAMILIES)}"),
        AfterValidator(_known_families),
    ] = FAMILIES
    """`cut_paste` and `scar` (a piece of the image itself in another place), `texture` (a foreign one), `blot`,
    `scratch`, `missing` and `shifted` (parts), `blur` and `colour` (of a region)."""
    per_image: Annotated[int, Field(ge=1, le=100)] = 9
    """Synthetic defects drawn on each good image, each in a copy of its own; the families take turns."""
    limit: Annotated[int, Field(ge=10, le=10_000)] = 600
    """Most synthetic images in all; with many good images each gets fewer, or none."""
    seed: Seed = 0
    """With an image's own pixels, draws its defects: another image in the data set changes none of them."""
