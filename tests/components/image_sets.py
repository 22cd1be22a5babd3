"""Small image sets with known content, for the stages behind ingestion."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from components.artifacts import ImageSetWriter, new_image_set

SIZE = 64
DEFECT = slice(20, 34)


def part(brightness: int, seed: int) -> npt.NDArray[np.uint8]:
    """A textured square part on a dark ground."""
    noise = np.random.default_rng(seed).integers(0, 12, (SIZE, SIZE, 3))
    image = np.full((SIZE, SIZE, 3), 30)
    image[12:52, 12:52] = brightness
    image[12:52:6, 12:52] = brightness // 2
    return (image + noise).clip(0, 255).astype(np.uint8)


def write_reference(path: Path, given: int = 2, good: int = 4, bad: int = 4, masks: bool = True) -> Path:
    """Reference image set: a bad image has a white square where its mask is set."""
    with new_image_set(path) as (writer, _):
        for index in range(given):
            writer.add(part(150, index), id=f"train-good-{index}", source=f"train/good/{index}.png")
        for index in range(good):
            writer.add(part(150, 100 + index), id=f"test-good-{index}", split="test", source=f"test/good/{index}.png")
        for index in range(bad):
            _add_bad(writer, index, masks)
    return path


def _add_bad(writer: ImageSetWriter, index: int, masks: bool) -> None:
    image, mask = part(150, 200 + index), np.zeros((SIZE, SIZE), dtype=bool)
    image[DEFECT, DEFECT] = 255
    mask[DEFECT, DEFECT] = True
    writer.add(
        image,
        id=f"test-hole-{index}",
        split="test",
        label="bad",
        defect="hole",
        source=f"test/hole/{index}.png",
        mask=mask if masks else None,
    )


def write_added(path: Path, count: int, sources: list[str]) -> Path:
    """Image set of additional good images, whose rows name the given images in turn."""
    with new_image_set(path) as (writer, _):
        for index in range(count):
            writer.add(
                part(140 + 4 * index, 300 + index), id=f"added-{index:03d}", source=sources[index % len(sources)]
            )
    return path
