"""What the augmentation policy `auto` chooses, beside what each policy's bank gives on the test images.

A bank holds all patches of the given images and of sixteen augmentations of each (`components.networks.patches`); an
image's score is the mean of the highest 1 % of its patches' distances. The test images have no part in the choice;
calibration images, of which `--calibration` takes some, have no part in the banks. Run it from the project's folder:
`python -m tests.benchmarks.policies --shots 5 --seeds 0,1 --size 128 CLASS_FOLDER...`.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from components.artifacts import ImageSet
from components.augmentation.choice import CANDIDATES, NONE, choose_policy
from components.augmentation.config import AUTO, Config
from components.augmentation.policies import make_augmentations
from components.compute import seed_everything
from components.dataset.config import Config as DatasetConfig
from components.dataset.ingest import ingest_dataset
from components.defect_synthesis.config import Config as DefectSynthesisConfig
from components.defect_synthesis.synthesise import synthesise_defects
from components.networks.patches import PatchNetwork, nearest_distances

POLICIES = (NONE, "photometric", *CANDIDATES)
COPIES = Config().images


def nearest(patches: Tensor, images: Tensor, network: PatchNetwork) -> Tensor:
    """Distances [n, p] of patches [n, p, dim] of test images to the nearest of some images' [m, 3, height, width]."""
    bank = network.fine(images).flatten(0, 1).unsqueeze(0)
    return torch.stack([nearest_distances(own, bank)[0] for own in patches])


def test_auroc(reference: ImageSet, seed: int, chosen: str) -> dict[str, float]:
    """Image AUROC on the test images by the bank of each policy, and of the chosen one."""
    network, test = PatchNetwork(), reference.manifest[reference.manifest["split"] == "test"]
    patches = network.fine(reference.tensor(list(test["id"])))
    given = reference.tensor(reference.ids("train", "good"))
    base, found = nearest(patches, given, network), {}
    for name in dict.fromkeys((*POLICIES, chosen)):
        distances = base
        if name != NONE:
            seed_everything(seed)
            drawn = []
            for image in given.mul(255).round().byte():
                augmentations = make_augmentations(name, COPIES, 1.0, *image.shape[1:])
                drawn += [augment(image) for augment in augmentations]
            distances = torch.minimum(base, nearest(patches, torch.stack(drawn).float() / 255, network))
        scores = distances.topk(max(1, distances.shape[1] // 100), dim=1).values.mean(dim=1)
        found[name] = float(roc_auc_score(test["label"] == "bad", scores))
    return found


def main() -> None:
    """Print a line for each class and seed, and the means."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("classes", nargs="+", type=Path)
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--calibration", type=int, default=0)
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    table = []
    for path in options.classes:
        for seed in map(int, options.seeds.split(",")):
            with TemporaryDirectory() as root:
                reference, synthetic = Path(root) / "reference", Path(root) / "synthetic"
                taken = {"shots": options.shots, "calibration": options.calibration, "seed": seed}
                config = DatasetConfig(uri=str(path), image_size=options.size, **taken)
                ingest_dataset(reference, config)
                synthesise_defects(reference, synthetic, DefectSynthesisConfig(seed=seed))
                choice = choose_policy(reference, synthetic, Config(policy=AUTO, seed=seed))
                test = test_auroc(ImageSet(reference), seed, choice.policy)
            table.append([*(test[name] for name in POLICIES), test[choice.policy], max(test.values())])
            shown = " ".join(
                f"{name} {test[name]:.3f} ({choice.auroc.get(name, float('nan')):.3f})" for name in POLICIES
            )
            print(
                f"{path.name} seed {seed}: {shown}; auto: {choice.policy}, free {choice.orientation_free}", flush=True
            )
    names = (*POLICIES, "auto", "best of all")
    print(
        "mean: " + ", ".join(f"{name} {value:.3f}" for name, value in zip(names, np.mean(table, axis=0), strict=True))
    )


if __name__ == "__main__":
    main()
