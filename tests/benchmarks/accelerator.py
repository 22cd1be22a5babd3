"""The fine-tuning loop and PatchCore on a GPU beside the processor: how far digits differ, and how many times faster.

Both run the same stages on the same images and seed, each in a process of its own, the processor's with all GPUs
hidden. The loop is compared by the terms of its loss at every step and by the images of its last set; PatchCore by the
patches of its coreset and by the maps and scores of further images. A first, short run of each does not count. Run it
from the project's folder: `python -m tests.benchmarks.accelerator`.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import torch
from torch.nn import functional

from components.artifacts import STEPS, new_image_set, read_candidates, to_arrays
from components.compute import device
from components.detectors.config import Config as DetectorConfig
from components.detectors.detector import fit, predict
from components.vqgan.config import Config
from components.vqgan.fine_tune import fine_tune

TRAINED, SCORED = 16, 32
"""Images that PatchCore is trained on, and that it scores."""


def smooth_images(count: int, size: int) -> torch.Tensor:
    """Random images [count, 3, size, size] in [0, 1] with a little noise."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 8, 8, generator=generator)
    images = functional.interpolate(coarse, (size, size), mode="bicubic")
    return (images + 0.02 * torch.randn(images.shape, generator=generator)).clamp(0, 1)


def write_sets(root: Path, size: int) -> None:
    """A given image, and sixteen noisy copies of it."""
    given = smooth_images(1, size)
    noise = torch.randn(16, 3, size, size, generator=torch.Generator().manual_seed(1))
    for name, images in (("reference", given), ("augmented", (given + 0.03 * noise).clamp(0, 1))):
        with new_image_set(root / name) as (writer, _):
            for index, image in enumerate(to_arrays(images)):
                writer.add(image, id=f"{name}-{index}", source="reference-0")


def measure_loop(root: Path, target: Path, steps: int) -> None:
    """Run the loop, and keep its losses, its last set and its seconds."""
    for name, config in {
        "short": Config(iterations=1, steps=2, images=8, adversarial_start=0.0),
        "loop": Config(iterations=2, steps=steps, images=8, adversarial_start=0.5),
    }.items():
        started = time.perf_counter()
        fine_tune(root / "reference", root / "augmented", target / name, target / f"{name}-model", config, _ignore)
        seconds = time.perf_counter() - started
    table = pd.read_parquet(target / "loop" / STEPS)
    np.savez(target / "loop.npz", losses=table.drop(columns=["step", "iteration"]).to_numpy(), seconds=seconds)


def _ignore(step: int, steps: int, scalars: Mapping[str, float]) -> None:
    """The loop's progress is of no interest."""


def measure_patchcore(target: Path, size: int) -> None:
    """Train PatchCore, score images, and keep the bank, the maps, the scores and the seconds of both."""
    images = smooth_images(TRAINED + SCORED, size)
    for count in (2, TRAINED):
        started = time.perf_counter()
        model = fit(images[:count], DetectorConfig(coreset_limit=2500))
        predict(model, images[TRAINED : TRAINED + 2])
        trained = time.perf_counter() - started
        started = time.perf_counter()
        scores, maps = predict(model, images[TRAINED:])
        scores, maps = scores.cpu(), maps.cpu()
        scored = time.perf_counter() - started
    bank = model.state_dict()
    patches = next(value for name, value in bank.items() if name.endswith("bank.patches")).cpu()
    np.savez(target / "patchcore.npz", bank=patches, maps=maps, scores=scores, trained=trained, scored=scored)


def relative(own: np.ndarray, other: np.ndarray) -> float:
    """Largest difference, as a share of the largest value."""
    return float(np.abs(own - other).max() / np.abs(other).max())


def compare(size: int, root: Path) -> str:
    """What two measurements say of each other."""
    gpu, cpu = (dict(np.load(root / name / "loop.npz")) for name in ("gpu", "cpu"))
    first, last = (relative(gpu["losses"][rows], cpu["losses"][rows]) for rows in (slice(0, 1), slice(None)))
    sets = [np.stack(read_candidates(root / name / "loop", 1)).astype(float) for name in ("gpu", "cpu")]
    levels = float(np.abs(sets[0] - sets[1]).mean())
    lines = [
        f"{size} px, loop: {float(cpu['seconds'] / gpu['seconds']):.1f} times faster ({float(cpu['seconds']):.1f} and "
        f"{float(gpu['seconds']):.1f} s); terms of the loss differ by {first:.1e} at the first step and {last:.1e} at "
        f"most, the last set by {levels:.2f} of 255 levels in the mean"
    ]
    gpu, cpu = (dict(np.load(root / name / "patchcore.npz")) for name in ("gpu", "cpu"))
    nearest = torch.cdist(torch.from_numpy(gpu["bank"]), torch.from_numpy(cpu["bank"])).amin(dim=1)
    same = float((nearest < 1e-2 * torch.from_numpy(cpu["bank"]).norm(dim=1).mean()).float().mean())
    lines.append(
        f"{size} px, PatchCore: training {float(cpu['trained'] / gpu['trained']):.1f} and scoring "
        f"{float(cpu['scored'] / gpu['scored']):.1f} times faster; {same:.1%} of the coreset's patches are the same; "
        f"scores differ by {relative(gpu['scores'], cpu['scores']):.1e}, "
        f"maps by {relative(gpu['maps'], cpu['maps']):.1e}"
    )
    return "\n".join(lines)


def main() -> None:
    """Print the comparison; a machine without a GPU is an error."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--sizes", default="128,256")
    parser.add_argument("--steps", type=int, default=6, help="of each of two iterations")
    parser.add_argument("--measure", type=Path, help="folder of one measurement, on what this process finds")
    given = parser.parse_args()
    if given.measure:
        measure_loop(given.measure.parent, given.measure, given.steps)
        measure_patchcore(given.measure, int(given.sizes))
        return
    if device().type != "cuda":
        sys.exit("no GPU: torch.cuda.is_available() is false")
    print(torch.cuda.get_device_name(), "beside", torch.get_num_threads(), "threads")
    for size in map(int, given.sizes.split(",")):
        with TemporaryDirectory() as folder:
            root = Path(folder)
            write_sets(root, size)
            for name, hidden in (("gpu", {}), ("cpu", {"CUDA_VISIBLE_DEVICES": ""})):
                (root / name).mkdir()
                own = ["--measure", str(root / name), "--sizes", str(size), "--steps", str(given.steps)]
                command = [sys.executable, "-m", "tests.benchmarks.accelerator", *own]
                subprocess.run(command, check=True, env={**os.environ, **hidden})
            print(compare(size, root), flush=True)


if __name__ == "__main__":
    main()
