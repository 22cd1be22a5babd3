"""The promised rate of false alarms against the observed one on good test images, by shots and training set.

Each folder is a class in MVTec AD's layout. A detector is trained by the product's own stages for every class, number
of given images, training set and seed; no image of the test split has a part in its threshold. Observed rates are
pooled over classes and seeds, with the interval of Clopper and Pearson (95 %), which takes the images for independent.
Run it from the project's folder: `python -m tests.benchmarks.false_alarms CLASS_FOLDER ...`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from scipy.stats import beta

from components.artifacts import ImageSet
from components.augmentation.augment import augment_images
from components.augmentation.config import Config as AugmentationConfig
from components.dataset.config import Config as DatasetConfig
from components.dataset.ingest import ingest_dataset
from components.detection.train import train_detector
from components.detectors.config import Config
from components.detectors.detector import Detector


def measure(folder: Path, shots: int, seed: int, given: argparse.Namespace) -> list[dict[str, Any]]:
    """Threshold, false alarms and recall of a detector for each training set."""
    rows = []
    with tempfile.TemporaryDirectory() as work:
        reference, augmented = Path(work) / "reference", Path(work) / "augmented"
        ingest_dataset(reference, DatasetConfig(uri=str(folder), shots=shots, image_size=given.image_size, seed=seed))
        augment_images(reference, augmented, AugmentationConfig(images=max(16, 4 * shots), seed=seed))
        images = ImageSet(reference)
        test = {label: images.tensor(images.ids("test", label)) for label in ("good", "bad")}
        for training_set in given.training_sets.split(","):
            config = Config(detector=given.detector, training_set=training_set, seed=seed)
            train_detector(reference, augmented, augmented, Path(work) / "detector", config)
            detector = Detector(Path(work) / "detector")
            over = {label: (detector.predict(found)[0] > detector.threshold.known) for label, found in test.items()}
            facts = {"class": folder.name, "shots": shots, "training set": training_set, "seed": seed}
            counts = {"alarms": int(over["good"].sum()), "good": len(over["good"])}
            bounds = {"lowest": detector.threshold.lowest_rate, "highest": detector.threshold.highest_rate}
            rule = {"source": detector.threshold.source, "expected": detector.threshold.expected_rate}
            rows.append({**facts, **rule, **bounds, **counts, "recall": float(over["bad"].float().mean())})
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Promised and observed rates by number of shots and training set."""
    found = []
    for (shots, training_set), own in rows.groupby(["shots", "training set"], sort=False):
        alarms, good = int(own["alarms"].sum()), int(own["good"].sum())
        by_class = own.groupby("class")[["alarms", "good"]].sum()
        found.append(
            {
                "shots": shots,
                "training set": training_set,
                "source": ", ".join(own["source"].unique()),
                "expected": own["expected"].mean(),
                "bounds": f"{own['lowest'].mean():.2f} to {own['highest'].mean():.2f}",
                "observed": alarms / good,
                "interval": "{:.3f} to {:.3f}".format(*clopper_pearson(alarms, good)),
                "worst class": (by_class["alarms"] / by_class["good"]).max(),
                "recall": own["recall"].mean(),
            }
        )
    return pd.DataFrame(found)


def clopper_pearson(count: int, total: int) -> tuple[float, float]:
    """Exact 95 % interval of a binomial rate."""
    lowest = float(beta.ppf(0.025, count, total - count + 1)) if count else 0.0
    highest = float(beta.ppf(0.975, count + 1, total - count)) if count < total else 1.0
    return lowest, highest


def main() -> None:
    """Print a row for every number of shots and training set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--shots", default="1,2,5,20")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--training-sets", default="none,rotations,augmented")
    parser.add_argument("--detector", default="patchcore")
    parser.add_argument("--image-size", type=int, default=128)
    given = parser.parse_args()
    for shots in map(int, given.shots.split(",")):
        seeds = map(int, given.seeds.split(","))
        rows = [row for seed in seeds for folder in given.folders for row in measure(folder, shots, seed, given)]
        print(summary(pd.DataFrame(rows)).round(3).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
