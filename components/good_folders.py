"""Where a data set keeps its good training images, by its layout: for what trains on the images of many lines."""

from collections.abc import Mapping

FOLDER = "folder"
GOOD_FOLDERS: Mapping[str, str] = {
    "mvtec": "train/good",
    "btad": "train/ok",
    "loco": "train/good",
    FOLDER: "good",
}
"""Folder of the good training images below a class folder, by layout; that of `FOLDER` has the good test images too."""


def drawn_for_test(count: int, test_fraction: float, seed: int) -> set[int]:
    """Indices, in the order of their names, of the good images that the layout `FOLDER` has in its test split."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(count)
    return set(order[: max(1, round(test_fraction * count))].tolist())
