"""Settings of the ingestion stage."""

from dataclasses import dataclass

from components.errors import check, check_seed

LOCO = "loco"
LAYOUTS = ("mvtec", "btad", LOCO, "folder")
ALL_SHOTS = 0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Settings of ingestion: which images are given, and in what size."""

    uri: str
    """Class folder: a local path or `s3://BUCKET/PREFIX`."""
    layout: str = "mvtec"
    """`mvtec`, `btad`, `loco`, or `folder` (`good/`, one folder per defect, `masks/DEFECT/`)."""
    shots: int = 1
    """Number of good training images drawn; 0 takes all but the calibration images."""
    calibration: int = 0
    """Number of further good images that only the detectors' threshold sees: drawn from the data set's own validation
    images where it has some (`loco`), else from the training images after the shots."""
    image_size: int = 256
    """Side in pixels to which every image is resized."""
    test_fraction: float = 0.2
    """Share of good images held out for the test split in the layout `folder`, which has no split of its own."""
    seed: int = 0
    """Draws the shots, and the split of the layout `folder`."""

    def __post_init__(self) -> None:
        """Check every field.

        Raises:
            InputError: a field has a value out of its range.
        """
        check(bool(self.uri), "dataset.uri", self.uri, "a folder or s3://BUCKET/PREFIX")
        check(self.layout in LAYOUTS, "dataset.layout", self.layout, f"one of {', '.join(LAYOUTS)}")
        check(self.shots >= ALL_SHOTS, "dataset.shots", self.shots, "a positive number, or all")
        check(self.calibration >= 0, "dataset.calibration", self.calibration, "0 or more")
        check(64 <= self.image_size <= 1024, "dataset.image_size", self.image_size, "64 to 1024 pixels")
        check(self.image_size % 32 == 0, "dataset.image_size", self.image_size, "a multiple of 32")
        check(0 < self.test_fraction < 1, "dataset.test_fraction", self.test_fraction, "between 0 and 1")
        check_seed(self.seed)
