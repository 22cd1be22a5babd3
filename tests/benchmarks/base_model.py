"""What a base model gives the line's loop: PSNR of the given image after some steps, with the base and from scratch.

Both start from the same seed and see the same augmented images; nothing is tuned to a class. Run it from the project's
folder: `python -m tests.benchmarks.base_model --base REFERENCE CLASS_FOLDER...`.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.augmentation.augment import augment_images
from components.augmentation.config import Config as AugmentationConfig
from components.compute import seed_everything
from components.dataset.config import Config as IngestionConfig
from components.dataset.ingest import ingest_dataset
from components.generator.config import UNTRAINED
from components.vqgan.config import Config
from components.vqgan.groups import Groups, load_groups
from components.vqgan.loop import FineTuning


def groups_of(folder: Path, size: int, seed: int) -> Groups:
    """One given image of a class folder in the MVTec layout, with its augmentations."""
    with tempfile.TemporaryDirectory() as directory:
        reference, augmented = Path(directory) / "reference", Path(directory) / "augmented"
        ingest_dataset(reference, IngestionConfig(uri=str(folder), shots=1, image_size=size, seed=seed))
        augment_images(reference, augmented, AugmentationConfig(seed=seed))
        return load_groups(reference, augmented)


def trend(groups: Groups, config: Config, at: Sequence[int]) -> tuple[dict[int, float], float]:
    """PSNR in dB of the given image after the numbers of steps, and the mean seconds of a step."""
    seed_everything(config.seed)
    loop = FineTuning(groups, config)
    found = {0: loop.psnr()} if 0 in at else {}
    started = time.perf_counter()
    while loop.state.step < max(at):
        loop.update()
        if loop.state.step % config.steps == 0:
            loop.finish_iteration()
        if loop.state.step in at:
            found[loop.state.step] = loop.psnr()
    return found, (time.perf_counter() - started) / max(loop.state.step, 1)


def row(name: str, trends: Mapping[str, tuple[dict[int, float], float]]) -> str:
    """One class of the table."""
    (scratch, scratch_seconds), (base, base_seconds) = trends["scratch"], trends["base"]
    cells = [f"{scratch[step]:.1f} / {base[step]:.1f} ({base[step] - scratch[step]:+.1f})" for step in scratch]
    return f"| {name} | {' | '.join(cells)} | {base_seconds / scratch_seconds:.2f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="CLASS_FOLDER")
    parser.add_argument("--base", required=True, help="reference to the base model's weights")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    parser.add_argument("--at", type=int, nargs="+", default=(0, 50, 120), help="numbers of steps")
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--batch-size", type=int, default=Config().batch_size)
    given = parser.parse_args()
    print("PSNR in dB, from scratch / with the base (gain); time of a step with the base over from scratch\n")
    print(f"| class, seed | {' | '.join(f'{step} steps' for step in given.at)} | time |")
    print(f"|{'---|' * (len(given.at) + 2)}")
    for folder in given.folders:
        for seed in given.seeds:
            groups = groups_of(folder, given.image_size, seed)
            config = Config(seed=seed, batch_size=given.batch_size)
            starts = {"scratch": UNTRAINED, "base": given.base}
            trends = {name: trend(groups, config.replace(weights=start), given.at) for name, start in starts.items()}
            print(row(f"{folder.name}, {seed}", trends), flush=True)


if __name__ == "__main__":
    main()
