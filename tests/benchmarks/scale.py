"""Seconds and peak memory against the number of images, on one thread, of what reads all images of a line.

`--mode detection`: PatchCore's training on a number of generated images, and the scoring of as many test images, or of
`--tested` ones, with maps and pixel metrics. `--mode loop`: the generator's start, two optimiser steps and a candidate
set with an image around each given one. `--mode quality`: the figures of as many images beside the given ones. Each is
measured in a process of its own, whose peak of resident memory is the kernel's (VmHWM). Run it from the project's
folder: `python -m tests.benchmarks.scale`, or with `--size 512 --counts 1,10,100`. Images wait in TMPDIR.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from components.artifacts import new_image_set

MODES: Mapping[str, tuple[str, ...]] = {
    "detection": ("training", "scoring"),
    "loop": ("loop",),
    "quality": ("quality",),
}
"""What is measured, each step in a process of its own."""
_MOST_ADDED, _LEAST_EACH, _MOST_EACH = 1000, 2, 16


def drawn(generator: np.random.Generator, size: int) -> npt.NDArray[np.uint8]:
    """A coarse pattern with noise [size, size, 3]."""
    coarse = generator.integers(60, 200, (8, 8, 3)).repeat(size // 8, axis=0).repeat(size // 8, axis=1)
    return (coarse + generator.integers(-20, 20, coarse.shape)).astype(np.uint8)


def write_images(path: Path, given: int, tested: int, size: int) -> None:
    """An image set with numbers of given images and of test images, every other of these with a defect of a 64th."""
    generator = np.random.default_rng(0)
    with new_image_set(path) as (writer, _):
        for split, count in (("train", given), ("test", tested)):
            for index in range(count):
                image, mask = drawn(generator, size), np.zeros((size, size), dtype=bool)
                bad = split == "test" and index % 2 == 1
                if bad:
                    mask[: size // 8, : size // 8] = True
                    image[mask] = 255
                marks: dict[str, Any] = {"label": "bad", "defect": "spot", "mask": mask} if bad else {}
                writer.add(image, id=f"{split}-{index:05d}", split=split, source="generated", **marks)


def write_added(path: Path, given: int, each: int, size: int) -> None:
    """An image set with a number of images of each given one."""
    generator = np.random.default_rng(1)
    with new_image_set(path) as (writer, _):
        for index in range(given * each):
            writer.add(drawn(generator, size), id=f"added-{index:05d}", source=f"train-{index % given:05d}")


def peak_megabytes() -> float:
    """Highest resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def train(work: Path) -> None:
    """PatchCore on all given images."""
    from components.detection.train import train_detector
    from components.detectors.config import Config

    reference = work / "reference"
    train_detector(reference, reference, reference, work / "detector", Config(threshold="none"))


def score(work: Path) -> None:
    """All test images with the trained detector."""
    from components.evaluation.config import Config
    from components.evaluation.evaluate import evaluate_detectors

    evaluate_detectors(work / "reference", [work / "detector"], work / "predictions", Config(latency_images=1))


def loop(work: Path) -> None:
    """Start of the fine-tuning loop, two optimiser steps, and a set with an image of each given one."""
    from components.artifacts import write_candidates
    from components.compute import seed_everything
    from components.vqgan.config import Config
    from components.vqgan.groups import load_groups
    from components.vqgan.loop import FineTuning

    seed_everything(0)
    tuning = FineTuning(load_groups(work / "reference", work / "added"), Config(images=1))
    tuning.update()
    tuning.update()
    write_candidates(work, 0, (image for part in tuning.sample() for image in part))


def quality(work: Path) -> None:
    """The figures that need no weights beside those that ship."""
    from components.quality.config import Config
    from components.quality.measure import measure_quality

    measure_quality(work / "reference", work / "added", work / "quality", Config())


STEPS: Mapping[str, Callable[[Path], None]] = {"training": train, "scoring": score, "loop": loop, "quality": quality}


def measure(work: Path, step: str) -> dict[str, float]:
    """Seconds of a step in this process, by the clock and of the processor, and its peak of memory before and after."""
    import torch

    torch.set_num_threads(1)
    before, started, busy = peak_megabytes(), time.perf_counter(), time.process_time()
    STEPS[step](work)
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    return {"s": seconds, "CPU s": cpu, "base MB": before, "MB": peak_megabytes()}


def megabytes_of(folder: Path) -> float:
    """Size of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def measured(mode: str, count: int, tested: int, size: int) -> dict[str, float]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        work, row = Path(folder), {"images": float(count)}
        write_images(work / "reference", count, tested if mode == "detection" else 0, size)
        if mode != "detection":
            each = 1 if mode == "quality" else max(_LEAST_EACH, min(_MOST_EACH, _MOST_ADDED // count))
            write_added(work / "added", count, each, size)
        for step in MODES[mode]:
            command = [sys.executable, "-m", "tests.benchmarks.scale", "--work", folder, "--step", step]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(output.splitlines()[-1])
            row |= {f"{step} {name}": value for name, value in found.items()}
        return row | {"disk MB": megabytes_of(work)}


def straight_line(counts: "pd.Series[float]", seconds: "pd.Series[float]") -> str:
    """Seconds per image by least squares, the constant part, and how far each number is from the line."""
    slope, constant = np.polyfit(counts, seconds, 1)
    off = seconds - (slope * counts + constant)
    share = float((off.abs() / seconds).iloc[-1])
    return (
        f"{slope * 1000:.1f} ms an image and {constant:.1f} s; largest distance from the line {off.abs().max():.2f} s, "
        f"{share:.1%} at {int(counts.iloc[-1])} images"
    )


def main() -> None:
    """Print the table and the lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=MODES, default="detection")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--counts", default="1,10,100,1000")
    parser.add_argument("--tested", type=int, help="test images; as many as given ones where this is missing")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--step", choices=STEPS)
    given = parser.parse_args()
    if given.work:
        print(json.dumps(measure(given.work, given.step)))
        return
    print_table(given.mode, [int(count) for count in given.counts.split(",")], given.tested, given.size)


def print_table(mode: str, counts: Sequence[int], tested: int | None, size: int) -> None:
    """Measure the rows, and print each when it is known; of two or more, the straight lines too."""
    rows = []
    for count in counts:
        rows.append(measured(mode, count, tested or count, size))
        print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False), flush=True)
    table = pd.DataFrame(rows)
    for step in MODES[mode] if len(rows) > 1 else ():
        for unit in ("s", "CPU s"):
            print(f"{step}, {unit}: {straight_line(table['images'], table[f'{step} {unit}'])}")


if __name__ == "__main__":
    main()
