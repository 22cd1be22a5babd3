"""What choosing the given images gives: image AUROC of `dataset.choose: coverage` against ten random draws.

The detector is PatchCore's plain bank: all patches of EfficientNet-Lite0's strides 8 and 16 at 256 pixels, the image's
score is the largest distance of a patch to its nearest one in the bank. A pool is the good training images, and once
more with defects of the test split among them, a tenth of the pool, which are then missing in the test. Nothing is
tuned to a class. Run it from the project's folder: `python -m tests.benchmarks.coverage CLASS_FOLDER...`.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

from components.artifacts import to_tensor
from components.dataset.coverage import choose_shots
from components.decode import decode_image
from components.detectors.encoder import Encoder, stacked
from components.listing.opened import DataSet, opened

if TYPE_CHECKING:
    from components.artifacts import UInt8Image

SHOTS = (1, 2, 5)
DRAWS = 10
SIDE = 256


class Bank:
    """Scores of a class's test images, of which each pair with a given image is compared once."""

    def __init__(self, test: Sequence[Path]) -> None:
        """Encode the test images."""
        self._encoder = Encoder("efficientnet-lite0", (2, 3))
        self._test = [self.patches(path) for path in test]
        self._nearest: dict[Path, Tensor] = {}

    def patches(self, path: Path) -> Tensor:
        """PatchCore's patch features [1024, 152] of an image."""
        maps = self._encoder(to_tensor([read(path)]))
        return functional.avg_pool2d(stacked(maps), 3, 1, 1).flatten(2)[0].T.contiguous()

    def scores(self, given: Sequence[Path]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """Score [n] of every test image by the bank of all patches of the given images."""
        for path in given:
            if path not in self._nearest:
                own = self.patches(path)
                rows = [torch.cdist(patches, own).amin(dim=1) for patches in self._test]
                self._nearest[path] = torch.stack(rows)
        nearest = torch.stack([self._nearest[path] for path in given]).amin(dim=0)
        return nearest.amax(dim=1).double().numpy()


def read(path: Path) -> "UInt8Image":
    """RGB image [256, 256, 3]."""
    return decode_image(path, SIDE, f"image {path}")[0]


def rows(name: str, bank: Bank, dataset: DataSet, defects: float, seed: int) -> list[str]:
    """Rows of the table for a class and a pool with a share of defects."""
    good, test = (
        [source for source in dataset.listing.sources if source.split == split] for split in ("train", "test")
    )
    bad = [dataset.path(source.name) for source in test if source.defect]
    given = [dataset.path(source.name) for source in good]
    generator = np.random.default_rng(seed)
    spoilt = [bad[index] for index in generator.permutation(len(bad))[: round(defects / (1 - defects) * len(given))]]
    pool = sorted(given + spoilt)
    draws = [[pool[index] for index in generator.permutation(len(pool))[: max(SHOTS)]] for _ in range(DRAWS)]
    choice = choose_shots(lambda index: read(pool[index]), len(pool), max(SHOTS), seed)
    chosen = [pool[index] for index in choice.shots]
    kept = [index for index, source in enumerate(test) if dataset.path(source.name) not in spoilt]
    labels = [bool(test[index].defect) for index in kept]

    def auroc(given: Sequence[Path]) -> float:
        return float(roc_auc_score(labels, bank.scores(given)[kept]))

    found = []
    for shots in SHOTS:
        drawn = [auroc(draw[:shots]) for draw in draws]
        taken = sum(path in spoilt for path in chosen[:shots])
        random = f"{np.mean(drawn):.3f} ({min(drawn):.3f})"
        found.append(
            f"| {name} | {len(spoilt)} of {len(pool)} | {shots} | {random} | {auroc(chosen[:shots]):.3f} | {taken} |"
        )
    listed = sum(pool[index] in spoilt for index in choice.look_at)
    return [*found, f"{name}: of {len(choice.look_at)} images listed as odd, {listed} are of the {len(spoilt)} defects"]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="CLASS_FOLDER", help="in the layout mvtec")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| class | defects in the pool | shots | ten random draws, mean (worst) | coverage | defects chosen |")
    print(f"|{'---|' * 6}")
    for folder in given.folders:
        started = time.perf_counter()
        with opened(str(folder), "mvtec") as dataset:
            bank = Bank([dataset.path(source.name) for source in dataset.listing.sources if source.split == "test"])
            for defects in (0.0, 0.1):
                print("\n".join(rows(folder.name, bank, dataset, defects, given.seed)), flush=True)
        print(f"{folder.name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
