"""Tiny images, class folders and image sets with known content."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from components.artifacts import new_image_set

UInt8Image = npt.NDArray[np.uint8]

SIDE = 64


def noise(seed: int, height: int = SIDE, width: int = SIDE) -> UInt8Image:
    """RGB image [height, width, 3] of random values."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def marked(row: int = 8, rows: int = 16, height: int = SIDE, width: int = SIDE) -> UInt8Image:
    """Mask [height, width] with some rows marked by 255."""
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[row : row + rows] = 255
    return mask


def save(path: Path, array: npt.NDArray[np.generic]) -> Path:
    """Write an image file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def save_series(folder: Path, count: int, seed: int, suffix: str = ".png") -> list[Path]:
    """Write images `000`, `001`, ... of different content."""
    return [save(folder / f"{index:03d}{suffix}", noise(seed + index)) for index in range(count)]


def write_mvtec(root: Path, train: int = 4) -> Path:
    """Class folder with two good and two bad test images, and a mask for each of the bad ones."""
    save_series(root / "train" / "good", train, 0)
    save_series(root / "test" / "good", 2, 100)
    save_series(root / "test" / "bent", 2, 200)
    for index in range(2):
        save(root / "ground_truth" / "bent" / f"{index:03d}_mask.png", marked())
    return root


def write_loco(root: Path) -> Path:
    """Class folder with a validation split, and two masks in a folder for its bad test image."""
    save_series(root / "train" / "good", 3, 0)
    save_series(root / "validation" / "good", 2, 50)
    save_series(root / "test" / "good", 2, 100)
    save_series(root / "test" / "logical_anomalies", 1, 200)
    masks = root / "ground_truth" / "logical_anomalies" / "000"
    save(masks / "000.png", marked(row=0, rows=8))
    save(masks / "001.png", marked(row=32, rows=8))
    return root


def write_btad(root: Path) -> Path:
    """Class folder whose images are BMP and whose masks are PNG."""
    save_series(root / "train" / "ok", 3, 0, ".bmp")
    save_series(root / "test" / "ok", 2, 100, ".bmp")
    save_series(root / "test" / "ko", 2, 200, ".bmp")
    for index in range(2):
        save(root / "ground_truth" / "ko" / f"{index:03d}.png", marked())
    return root


def write_folder(root: Path, good: int = 10) -> Path:
    """Class folder without a split: good images, one defect with masks and one without."""
    save_series(root / "good", good, 0)
    save_series(root / "bent", 2, 100)
    save_series(root / "stained", 1, 200)
    for index in range(2):
        save(root / "masks" / "bent" / f"{index:03d}.png", marked())
    return root


def write_reference(path: Path, train: list[UInt8Image]) -> Path:
    """Image set with the given good training images `given-0`, `given-1`, ... and one bad test image."""
    with new_image_set(path) as (writer, _):
        for index, image in enumerate(train):
            writer.add(image, id=f"given-{index}", source=f"train/good/{index:03d}.png")
        writer.add(noise(999), id="bad", split="test", label="bad", defect="bent", source="test/bent/000.png")
    return path
