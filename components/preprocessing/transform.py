"""The one way from a camera's image to what a detector sees: bit depth, crop, proportions, size and tiles.

Ingestion decides on it for a data set (`components.preprocessing.choice`) and keeps it with the image set;
training keeps it with the detector, so that evaluation, drift, export and serving do the same to every later image.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.artifacts import PREPROCESSING, ImageSet, read_json, write_json
from components.decode import MEGAPIXELS, check_size, decode_file, resized
from components.errors import InputError
from components.preprocessing.geometry import Box, Size, crop_box, fitted, tile_starts

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from components.artifacts import BoolMask, UInt8Image

PADDING = (124, 116, 104)
"""Colour beside an image that keeps its proportions: ImageNet's mean, which is 0 to a network, as its own borders."""


FULL_DEPTH = 16


@dataclass(frozen=True, kw_only=True)
class Read:
    """An image as a detector sees it, and what is known of its file."""

    pixels: "UInt8Image"
    """RGB [height, width, 3]."""
    size: Size
    """Width and height before."""
    notes: tuple[str, ...] = ()
    """Keys of `components.decode.NOTES`."""


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What is done to every image of a data set; `untouched` resizes alone."""

    image_size: int
    """Side in pixels of what a network sees: of the images, or of each tile."""
    content: Size
    """Width and height to which an image, or its crop, is resized."""
    bit_depth: int = FULL_DEPTH
    """Bits that are used of files that hold 16."""
    max_megapixels: int = MEGAPIXELS
    """Largest accepted image."""
    crop: str = ""
    """Part of an image that is used, in the form of `dataset.crop`; empty for all of it."""
    keep_aspect: bool = False
    """Whether images in other proportions than `content` are refused, and not stretched."""
    tiles: tuple[int, int] = (1, 1)
    """Rows and columns."""

    @classmethod
    def untouched(cls, image_size: int) -> "Preprocessing":
        """Of images that are resized to a side in pixels, and nothing more."""
        return cls(image_size=image_size, content=(image_size, image_size))

    @classmethod
    def from_content(cls, content: Mapping[str, Any]) -> "Preprocessing":
        """What `to_content` gave."""
        width, height = content["content"]
        rows, columns = content["tiles"]
        return cls(**{**content, "content": (width, height), "tiles": (rows, columns)})

    def to_content(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    def write(self, directory: Path) -> None:
        """Keep it in an image set."""
        write_json(directory / PREPROCESSING, self.to_content())

    def stated(self) -> dict[str, Any]:
        """What an image goes through beside being resized, for logs and metrics; empty for `untouched`."""
        found: dict[str, Any] = {} if self.bit_depth == FULL_DEPTH else {"bit_depth": self.bit_depth}
        found |= {"crop": self.crop} if self.crop else {}
        found |= {"tiles": "{}x{}".format(*self.tiles)} if self.tiled else {}
        return found | ({"content_size": "{}x{}".format(*self.content)} if self.keep_aspect else {})

    @property
    def tiled(self) -> bool:
        """Whether a detector sees an image in more than one piece."""
        return self.tiles != (1, 1)

    @property
    def size(self) -> Size:
        """Width and height of the images of an image set."""
        return self.content if self.tiled else (self.image_size, self.image_size)

    @property
    def padded(self) -> bool:
        """Whether there is padding beside the content."""
        return self.size != self.content

    @property
    def content_box(self) -> Box:
        """Where the content lies, in the middle of the padding."""
        (width, height), (own_width, own_height) = self.size, self.content
        left, top = (width - own_width) // 2, (height - own_height) // 2
        return Box(left, top, left + own_width, top + own_height)

    @cached_property
    def tile_boxes(self) -> list[Box]:
        """Where the tiles lie in an image, row by row."""
        side, (rows, columns), (width, height) = self.image_size, self.tiles, self.size
        corners = [(x, y) for y in tile_starts(height, side, rows) for x in tile_starts(width, side, columns)]
        return [Box(x, y, x + side, y + side) for x, y in corners]

    def read(self, file: Path | bytes, name: str) -> Read:
        """The image of a file or of its content.

        `InputError` where it cannot be read, is too large or too small, or has other proportions; messages say `name`.
        """
        decoded = decode_file(file, name, bit_depth=self.bit_depth, max_megapixels=self.max_megapixels)
        return Read(pixels=self._placed(decoded.image, name), size=decoded.image.size, notes=decoded.notes)

    def place(self, pixels: "UInt8Image", name: str) -> "UInt8Image":
        """The image of decoded pixels, RGB [height, width, 3]; errors are those of `read`."""
        from PIL import Image

        image = Image.fromarray(pixels)
        check_size(image.size, name, self.max_megapixels)
        return self._placed(image, name)

    def place_mask(self, mask: "BoolMask", name: str) -> "BoolMask":
        """The mask of an image [height, width] as that of the image that a detector sees; padding is not marked.

        A pixel is marked when half of what it covers was; a defect too small for that keeps every pixel it touches.
        What lies outside of the crop is lost: of a mask that lies there, nothing is marked.
        """
        import numpy as np
        from PIL import Image

        height, width = mask.shape
        cropped = mask[crop_box(self.crop, (width, height), name).slices]
        stretched = Image.fromarray(cropped.astype(np.float32)).resize(self.content, Image.Resampling.BOX)
        coverage = np.asarray(stretched)
        placed = np.zeros(self.size[::-1], dtype=bool)
        placed[self.content_box.slices] = coverage >= 0.5 if (coverage >= 0.5).any() else coverage > 0
        return placed

    def unplace(self, pixels: "UInt8Image") -> "UInt8Image":
        """An image of a camera that `place` brings to these pixels, without what it resized: an example for clients."""
        import numpy as np
        from PIL import Image

        content = pixels[self.content_box.slices]
        if not self.crop:
            return content
        if "%" in self.crop:
            shares = [float(part.strip(" %")) / 100 for part in self.crop.split(",")]
            spans = zip(self.content, (shares[2] - shares[0], shares[3] - shares[1]), strict=True)
            width, height = (round(length / share) for length, share in spans)
            box = crop_box(self.crop, (width, height), "example")
        else:
            *_, right, bottom = (int(float(part)) for part in self.crop.split(","))
            width, height = right, bottom
            box = crop_box(self.crop, (width, height), "example")
        canvas = np.full((height, width, 3), PADDING, dtype=np.uint8)
        canvas[box.slices] = resized(Image.fromarray(content), box.size)
        return canvas

    def cut(self, images: "Tensor") -> "Tensor":
        """Tiles [n tiles, channels, side, side] of images [n, channels, height, width], those of an image in a row."""
        import torch

        if not self.tiled:
            return images
        pieces = [images[..., rows, columns] for rows, columns in (box.slices for box in self.tile_boxes)]
        return torch.stack(pieces, dim=1).flatten(0, 1)

    def stitch(self, maps: "Tensor") -> "Tensor":
        """Maps [n, channels, height, width] of those of all tiles, in the order of `cut`; their mean where two meet."""
        if not self.tiled:
            return maps
        width, height = self.size
        pieces = maps.reshape(-1, len(self.tile_boxes), *maps.shape[1:])
        total = maps.new_zeros(len(pieces), maps.shape[1], height, width)
        covering = maps.new_zeros(1, 1, height, width)
        for index, box in enumerate(self.tile_boxes):
            rows, columns = box.slices
            total[..., rows, columns] += pieces[:, index]
            covering[..., rows, columns] += 1
        return total / covering

    def _placed(self, image: "Image", name: str) -> "UInt8Image":
        """Crop, resize and pad an RGB image."""
        import numpy as np

        box = crop_box(self.crop, image.size, name)
        if self.keep_aspect and not self.fits(box.size):
            received, expected = ("x".join(map(str, size)) for size in (box.size, self.content))
            part = f"the crop of {name}" if self.crop else name
            raise InputError(f"{part}: size is {received}, expected the proportions of {expected}: dataset.keep_aspect")
        cropped = image if box.size == image.size else image.crop((box.left, box.top, box.right, box.bottom))
        content = resized(cropped, self.content)
        if not self.padded:
            return content
        width, height = self.size
        canvas = np.full((height, width, 3), PADDING, dtype=np.uint8)
        canvas[self.content_box.slices] = content
        return canvas

    def fits(self, size: Size) -> bool:
        """Whether an image of a size fits in the content without being stretched by more than a pixel."""
        return all(abs(own - side) <= 1 for own, side in zip(fitted(size, self.content), self.content, strict=True))


def preprocessing_of(images: ImageSet) -> Preprocessing:
    """That of an image set; of one that keeps none, its images' size alone is known."""
    if not (images.path / PREPROCESSING).is_file():
        return Preprocessing.untouched(int(images.manifest["width"].iloc[0]))
    return Preprocessing.from_content(read_json(images.path / PREPROCESSING))


def kept_preprocessing(content: Mapping[str, Any]) -> Preprocessing:
    """What the images of a detector go through, by its `config.json`; those of earlier versions were resized alone."""
    if "preprocessing" not in content:
        return Preprocessing.untouched(content["image_size"])
    return Preprocessing.from_content(content["preprocessing"])


def require_same_geometry(detector: Preprocessing, images: Preprocessing) -> None:
    """Raise `InputError` where a detector knows images in another brightness, crop or proportions; sizes may differ."""
    for name in ("bit_depth", "crop", "keep_aspect"):
        own, expected = getattr(detector, name), getattr(images, name)
        if own != expected:
            raise InputError(f"detector: dataset.{name} is {own!r}, expected {expected!r} as in the data set")
    if detector.keep_aspect and (detector.tiled != images.tiled or not detector.fits(images.content)):
        own, expected = ("{}x{}".format(*found.size) for found in (detector, images))
        raise InputError(f"detector: takes images of {own}, expected the proportions of {expected} as in the data set")
