"""Seconds and peak memory of PatchCore's training and of evaluation against the number of images, on one thread.

Every number of generated images is trained on, and as many test images are scored with maps and pixel metrics, each in
a process of its own, whose peak of resident memory is the kernel's (VmHWM). Run it from the project's folder:
`python -m tests.benchmarks.scale`, or with `--size 512 --counts 1,10,100`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from components.artifacts import new_image_set

TRAINING, SCORING = "training", "scoring"


def write_images(path: Path, given: int, tested: int, size: int) -> None:
    """An image set with numbers of given images and of test images, every other of these with a defect of a 64th."""
    generator = np.random.default_rng(0)
    with new_image_set(path) as (writer, _):
        for split, count in (("train", given), ("test", tested)):
            for index in range(count):
                coarse = generator.integers(60, 200, (8, 8, 3)).repeat(size // 8, axis=0).repeat(size // 8, axis=1)
                image = (coarse + generator.integers(-20, 20, coarse.shape)).astype(np.uint8)
                mask = np.zeros((size, size), dtype=bool)
                bad = split == "test" and index % 2 == 1
                if bad:
                    mask[: size // 8, : size // 8] = True
                    image[mask] = 255
                marks: dict[str, Any] = {"label": "bad", "defect": "spot", "mask": mask} if bad else {}
                writer.add(image, id=f"{split}-{index:05d}", split=split, source="generated", **marks)


def peak_megabytes() -> float:
    """Highest resident memory of this process so far."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def measure(work: Path, step: str) -> dict[str, float]:
    """Seconds of one of the two steps in this process, and its peak of memory before and after."""
    import torch

    from components.detection.train import train_detector
    from components.detectors.config import Config
    from components.evaluation.config import Config as EvaluationConfig
    from components.evaluation.evaluate import evaluate_detectors

    torch.set_num_threads(1)
    reference, detector = work / "reference", work / "detector"
    before, started, busy = peak_megabytes(), time.perf_counter(), time.process_time()
    if step == TRAINING:
        train_detector(reference, reference, reference, detector, Config(threshold="none"))
    else:
        evaluate_detectors(reference, [detector], work / "predictions", EvaluationConfig(latency_images=1))
    seconds, cpu = time.perf_counter() - started, time.process_time() - busy
    return {"seconds": seconds, "cpu": cpu, "before": before, "peak": peak_megabytes()}


def megabytes_of(folder: Path) -> float:
    """Size of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def measured(count: int, tested: int, size: int) -> dict[str, float]:
    """A row of the table, by two processes."""
    with tempfile.TemporaryDirectory() as folder:
        work, started = Path(folder), time.perf_counter()
        write_images(work / "reference", count, tested, size)
        row: dict[str, float] = {"images": count, "tested": tested, "writing s": time.perf_counter() - started}
        row["reference MB"] = megabytes_of(work / "reference")
        print(row, flush=True)
        for step in (TRAINING, SCORING):
            command = [sys.executable, "-m", "tests.benchmarks.scale", "--work", folder, "--step", step]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found = json.loads(output.splitlines()[-1])
            row |= {f"{step} s": found["seconds"], f"{step} MB": found["peak"], f"{step} base MB": found["before"]}
            row |= {f"{step} CPU s": found["cpu"]}
            print(row, flush=True)
        row["predictions MB"] = megabytes_of(work / "predictions")
        return row


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
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--counts", default="1,10,100,1000")
    parser.add_argument("--tested", type=int, help="test images; as many as given ones where this is missing")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--step", choices=(TRAINING, SCORING))
    given = parser.parse_args()
    if given.work:
        print(json.dumps(measure(given.work, given.step)))
        return
    rows = []
    for count in map(int, given.counts.split(",")):
        rows.append(measured(count, given.tested or count, given.size))
        print(pd.DataFrame(rows[-1:]).round(2).to_string(index=False), flush=True)
    table = pd.DataFrame(rows)
    for step in (TRAINING, SCORING):
        print(f"{step}: {straight_line(table['images'], table[f'{step} s'])}")


if __name__ == "__main__":
    main()
