"""Tiny class folders with exactly the layouts, file formats and mask conventions of MVTec LOCO AD and BTAD."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.components.image_sets import SIZE, part
from tests.components.trees import save

LOGICAL_SLOTS = (slice(4, 12), slice(52, 60))
"""Rows of the two places of which either may hold the missing piece; both are annotated, one is enough."""
SCRATCH = slice(20, 34)
BTAD_SUFFIXES = {"01": (".bmp", ".png"), "02": (".png", ".png"), "03": (".bmp", ".bmp")}
"""Suffixes of images and masks by BTAD's classes."""

DEFECTS: list[dict[str, Any]] = [
    {"defect_name": "missing_piece", "pixel_value": 254, "saturation_threshold": 256, "relative_saturation": False},
    {"defect_name": "scratch", "pixel_value": 255, "saturation_threshold": 1.0, "relative_saturation": True},
    {"defect_name": "contamination", "pixel_value": 253, "saturation_threshold": 0.5, "relative_saturation": True},
]


def grey_mask(rows: slice, columns: slice, value: int) -> npt.NDArray[np.uint8]:
    """Mask [height, width] with one value in a rectangle."""
    mask = np.zeros((SIZE, SIZE), dtype=np.uint8)
    mask[rows, columns] = value
    return mask


def write_loco_class(root: Path) -> Path:
    """Class folder of MVTec LOCO AD: 4 training, 3 validation, and 4 good, 3 logical and 3 structural test images.

    A logical image has two regions of 8 x 64 pixels, of which 256 are enough; a structural one a scratch of 14 x 14.
    """
    for folder, count, seed in (("train/good", 4, 0), ("validation/good", 3, 50), ("test/good", 4, 100)):
        for index in range(count):
            save(root / folder / f"{index:03d}.png", part(150, seed + index))
    for index in range(3):
        _write_logical(root, index)
        _write_structural(root, index)
    (root / "defects_config.json").write_text(json.dumps(DEFECTS), encoding="utf-8")
    return root


def _write_logical(root: Path, index: int) -> None:
    image = part(150, 200 + index)
    image[LOGICAL_SLOTS[0], :32] = 200
    save(root / "test" / "logical_anomalies" / f"{index:03d}.png", image)
    masks = root / "ground_truth" / "logical_anomalies" / f"{index:03d}"
    for number, rows in enumerate(LOGICAL_SLOTS):
        save(masks / f"{number:03d}.png", grey_mask(rows, slice(None), 254))


def _write_structural(root: Path, index: int) -> None:
    image = part(150, 300 + index)
    image[SCRATCH, SCRATCH] = 255
    save(root / "test" / "structural_anomalies" / f"{index:03d}.png", image)
    mask = root / "ground_truth" / "structural_anomalies" / f"{index:03d}" / "000.png"
    save(mask, grey_mask(SCRATCH, SCRATCH, 255))


def write_btad_class(root: Path, name: str) -> Path:
    """Class folder `01`, `02` or `03` of BTAD below a folder: 3 training, and 3 good and 3 bad test images."""
    image_suffix, mask_suffix = BTAD_SUFFIXES[name]
    for index in range(3):
        save(root / name / "train" / "ok" / f"{index:04d}{image_suffix}", part(150, index))
        save(root / name / "test" / "ok" / f"{index:04d}{image_suffix}", part(150, 100 + index))
        bad = part(150, 200 + index)
        bad[SCRATCH, SCRATCH] = 255
        save(root / name / "test" / "ko" / f"{index:04d}{image_suffix}", bad)
        save(root / name / "ground_truth" / "ko" / f"{index:04d}{mask_suffix}", grey_mask(SCRATCH, SCRATCH, 255))
    return root / name
