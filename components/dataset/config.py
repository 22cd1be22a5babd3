"""Settings of the dataset stage."""

from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from components.dataset.coverage import MAX_SHOTS
from components.decode import MEGAPIXELS
from components.errors import check
from components.listing.layouts import LAYOUTS
from components.networks.patches import BACKBONE
from components.preprocessing.choice import AUTO, BIT_DEPTHS, BY_DATA_SET
from components.preprocessing.geometry import crop_edges, tile_grid
from components.settings import Expected, Fraction, OneOf, Seed, Settings
from components.storage.addresses import address

COVERAGE = "coverage"
ALL_SHOTS = 0

Uri = Annotated[
    str,
    Field(min_length=1),
    AfterValidator(lambda text: address(text, "dataset.uri")),
    Expected("a folder or s3://BUCKET/PREFIX"),
]


class Config(Settings):
    """Which images are given, and in what size."""

    section: ClassVar = "dataset"

    uri: Uri
    """Class folder: a local path or `s3://BUCKET/PREFIX`."""
    layout: Annotated[str, OneOf(LAYOUTS)] = "mvtec"
    """`mvtec`, `btad`, `loco`, or `folder` (`good/`, one folder per defect, `masks/DEFECT/`)."""
    shots: Annotated[int, Field(ge=ALL_SHOTS), Expected("a positive number, or all")] = 1
    """Number of good training images drawn; 0 takes all but the calibration images."""
    calibration: Annotated[int, Field(ge=0)] = 0
    """Number of further good images that only the detectors' threshold sees: drawn from the data set's own validation
    images where it has some (`loco`), else from the training images after the shots."""
    image_size: Annotated[int, Field(ge=64, le=1024, multiple_of=32), Expected("{} pixels")] = 256
    """Side in pixels to which every image is resized."""
    test_fraction: Fraction = 0.2
    """Share of good images held out for the test split where the data set has no good test images of its own, as in the
    layout `folder`. An image's content decides, so that neither the seed nor further images move it."""
    seed: Seed = 0
    """Draws the shots."""
    mask_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of a mask's range above which its pixels mark a defect, for soft edges and JPEG; 0 for every pixel that is
    not black. Labels, which are few plain colours or small values, all mark."""
    choose: Annotated[str, OneOf(("random", COVERAGE))] = "random"
    """How the shots are taken from the good training images: `random` draws them by the seed; `coverage` takes those
    that represent all of them best, and the seed decides between equal ones alone."""
    bit_depth: Annotated[int, OneOf((BY_DATA_SET, *BIT_DEPTHS))] = BY_DATA_SET
    """Bits that a camera uses of files that hold 16: 8, 10, 12, 14 or 16; 0 takes the fewest that hold the largest
    value of the data set."""
    max_megapixels: Annotated[int, Field(ge=1, le=1000)] = MEGAPIXELS
    """Largest accepted image in millions of pixels, each of which takes up to 30 MB of memory while it is read."""
    crop: str = ""
    """Part of every image that is used: `left,top,right,bottom` in pixels (`100,50,900,850`) or in percent
    (`10%,5%,90%,95%`), or `auto` for what differs from the background in the given images; empty for all of it."""
    keep_aspect: bool = False
    """Never stretch an image: beside one that is no square lies padding, which no detector learns or scores."""
    tiles: str = "1x1"
    """Rows and columns of overlapping tiles, each of which a network sees at `image_size`: `2x2` for defects that an
    image of one tile would lose."""

    @property
    def covers(self) -> bool:
        """Whether the shots are chosen by coverage, as they are where not all images are taken."""
        return self.choose == COVERAGE and self.shots != ALL_SHOTS

    @property
    def references(self) -> tuple[str, ...]:
        """See `Settings.references`."""
        return (BACKBONE,) if self.covers else ()

    @model_validator(mode="after")
    def _check_coverage(self) -> Self:
        expected = f"at most {MAX_SHOTS}, or all, with dataset.choose {COVERAGE}"
        check(not self.covers or self.shots <= MAX_SHOTS, "dataset.shots", self.shots, expected)
        return self

    @field_validator("tiles")
    @classmethod
    def _check_tiles(cls, tiles: str) -> str:
        tile_grid(tiles)
        return tiles

    @field_validator("crop")
    @classmethod
    def _check_crop(cls, crop: str) -> str:
        if crop not in ("", AUTO):
            crop_edges(crop)
        return crop


class FolderConfig(Settings):
    """Which images of a plain folder are written as an image set, and in what size."""

    uri: Uri
    """Folder of images: a local path or `s3://BUCKET/PREFIX`."""
    image_size: Annotated[int, Field(ge=64, le=1024), Expected("{} pixels")] = 256
    """Side in pixels to which every image is resized."""
