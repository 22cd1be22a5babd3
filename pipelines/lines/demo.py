"""A line that needs no data: a texture photograph that scikit-image ships, with synthetic defects for the test split.

Good images are tiles of the photograph; training tiles come from its upper part, test tiles from its lower part, so
that no pixel is in both. A defect is drawn into a test tile, and its mask marks what was drawn.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from components.artifacts import encode_png, new_directory

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Grey = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]
    Defect = Callable[[Grey, np.random.Generator], tuple[Grey, Mask]]

TILE = 128
"""Side of a tile in pixels."""
TRAIN_ROWS = 256
"""Rows of the photograph that training tiles come from."""
TRAIN_TILES, TEST_GOOD, TEST_BAD = 8, 12, 8
"""Good training tiles, good test tiles, and bad test tiles of each defect type."""

_LINE: dict[str, Any] = {
    "name": "demo-brick",
    "object": "brick",
    "dataset": {"uri": "brick", "layout": "mvtec", "shots": 2, "image_size": TILE},
    "vqgan": {"iterations": 6, "images": 12, "steps": 10},
    "augmentation": {"images": 12},
}


def write_demo_line(root: Path) -> Path:
    """Write the demo's data set in the MVTec layout, in place of an earlier one, and return its line file."""
    import numpy as np
    from skimage import data

    generator = np.random.default_rng(0)
    photograph = data.brick() / 255.0
    with new_directory(root) as directory:
        train, test = photograph[:TRAIN_ROWS], photograph[TRAIN_ROWS:]
        _write(directory / "brick" / "train" / "good", (_tile(train, generator) for _ in range(TRAIN_TILES)))
        _write(directory / "brick" / "test" / "good", (_tile(test, generator) for _ in range(TEST_GOOD)))
        for name, defect in DEFECTS.items():
            bad = [defect(_tile(test, generator), generator) for _ in range(TEST_BAD)]
            _write(directory / "brick" / "test" / name, (tile for tile, _ in bad))
            _write(directory / "brick" / "ground_truth" / name, (mask for _, mask in bad), "_mask")
        (directory / "line.yaml").write_text(yaml.safe_dump(_LINE, sort_keys=False), encoding="utf-8")
    return root / "line.yaml"


def _write(folder: Path, tiles: "Iterable[Grey | Mask]", suffix: str = "") -> None:
    folder.mkdir(parents=True)
    for index, tile in enumerate(tiles):
        (folder / f"{index:03d}{suffix}.png").write_bytes(encode_png((tile.clip(0, 1) * 255).round().astype("uint8")))


def _tile(photograph: "Grey", generator: "np.random.Generator") -> "Grey":
    row = generator.integers(photograph.shape[0] - TILE + 1)
    column = generator.integers(photograph.shape[1] - TILE + 1)
    return photograph[row : row + TILE, column : column + TILE].copy()


def _blot(generator: "np.random.Generator", edge: float, radii: tuple[int, int], uneven: int, sigma: int) -> "Mask":
    """A round area with an uneven outline, whose centre keeps a share of the tile's side as distance from the edge."""
    import numpy as np
    from skimage.filters import gaussian

    rows, columns = np.mgrid[:TILE, :TILE]
    centre = generator.uniform(edge, 1 - edge, size=2) * TILE
    outline = generator.uniform(*radii) + uneven * gaussian(generator.normal(size=(TILE, TILE)), sigma=sigma)
    mask: Mask = np.hypot(rows - centre[0], columns - centre[1]) < outline
    return mask


def _stain(tile: "Grey", generator: "np.random.Generator") -> tuple["Grey", "Mask"]:
    """A dark, soft-edged blot with an uneven outline."""
    from skimage.filters import gaussian

    mask = _blot(generator, 0.25, (7, 13), -20, 4)
    return tile * (1 - 0.45 * gaussian(mask.astype(float), sigma=1)), mask


def _scratch(tile: "Grey", generator: "np.random.Generator") -> tuple["Grey", "Mask"]:
    """A bright line of one to three pixels' width."""
    import numpy as np
    from skimage.draw import line
    from skimage.morphology import dilation, disk

    ends = generator.integers(TILE // 8, TILE - TILE // 8, size=(2, 2))
    while np.hypot(*(ends[0] - ends[1])) < TILE / 3:
        ends = generator.integers(TILE // 8, TILE - TILE // 8, size=(2, 2))
    mask = np.zeros(tile.shape, dtype=bool)
    mask[line(*ends[0], *ends[1])] = True
    mask = dilation(mask, disk(1))
    return np.where(mask, np.minimum(1, tile + 0.35), tile), mask


def _foreign(tile: "Grey", generator: "np.random.Generator") -> tuple["Grey", "Mask"]:
    """A patch of gravel lying on the bricks."""
    import numpy as np
    from skimage import data

    mask = _blot(generator, 0.3, (9, 15), 40, 5)
    return np.where(mask, _tile(data.gravel() / 255.0, generator), tile), mask


DEFECTS: "dict[str, Defect]" = {"stain": _stain, "scratch": _scratch, "foreign": _foreign}
"""Draws a defect into a grey tile in [0, 1] and returns the tile and the mask."""
