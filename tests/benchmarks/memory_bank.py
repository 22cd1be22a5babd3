"""The memory bank against anomalib's, as ratios in one run on one thread: selection of the coreset, and scoring.

Both select a tenth of the same patches, both score the same images by the same bank and the same backbone; they take
turns. Run it from the project's folder: `python -m tests.benchmarks.memory_bank`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from components.detectors.config import Config
from components.detectors.coreset import k_center_greedy, squared_distances
from components.detectors.detector import build_detector, predict

DIMENSIONS = 152


def seconds(call: Callable[[], object]) -> float:
    """Wall time of a call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def radius(patches: Tensor, chosen: Tensor) -> float:
    """Largest distance of a patch to the nearest chosen one."""
    kept = patches[chosen]
    nearest = [squared_distances(rows, kept).amin(dim=1).max() for rows in torch.split(patches, 1024)]
    return float(torch.stack(nearest).max().sqrt())


def compare_coresets(count: int) -> str:
    """Times and radii of a tenth of patches that lie near a subspace, as features do."""
    from anomalib.models.components import KCenterGreedy

    patches = torch.randn(count, 40) @ torch.randn(40, DIMENSIONS) + torch.randn(count, DIMENSIONS)
    found: dict[str, Tensor] = {}

    def ours() -> None:
        found["ours"] = k_center_greedy(patches, count // 10, 0)

    def anomalibs() -> None:
        found["anomalib"] = torch.tensor(KCenterGreedy(patches, 0.1).select_coreset_idxs())

    times = seconds(ours), seconds(anomalibs), seconds(ours)
    mean = (times[0] + times[2]) / 2
    radii = radius(patches, found["ours"]), radius(patches, found["anomalib"])
    return (
        f"coreset of a tenth of {count} x {DIMENSIONS}: {mean:.2f} s against {times[1]:.1f} s of anomalib, "
        f"{times[1] / mean:.0f} times faster; radius {radii[0]:.2f} against {radii[1]:.2f}"
    )


def compare_scoring(size: int, bank: int, batch: int, rounds: int) -> str:
    """Times and differences of a batch of images, with the backbone and for the search alone."""
    from anomalib.models.image.patchcore.torch_model import PatchcoreModel

    model: Any = build_detector(Config(image_score="max"), size).eval()
    images = torch.nn.functional.interpolate(torch.rand(batch + 40, 3, 16, 16), (size, size), mode="bicubic").clamp(
        0, 1
    )
    with torch.inference_mode():
        model.bank.patches = torch.cat([model.embed(some).flatten(0, 2) for some in torch.split(images[batch:], 8)])[
            :bank
        ]
        other = PatchcoreModel((2, 3), "tf_efficientnet_lite0", pre_trained=False, num_neighbors=9).eval()
        other.feature_extractor.feature_extractor.load_state_dict(model.encoder.body.state_dict())
        other.memory_bank = model.bank.patches
        given, rows = images[:batch], model.embed(images[:batch]).flatten(0, 2)
        normal = (given - model.encoder.mean) / model.encoder.std
        found, expected = model(given), other(normal)
        calls: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            "whole": (lambda: predict(model, given), lambda: other(normal)),
            "single": (lambda: predict(model, given), lambda: [other(image) for image in torch.split(normal, 1)]),
            "search": (lambda: model.bank.distances(rows), lambda: other.nearest_neighbors(rows, 1)),
        }
        ratios = {}
        for name, pair in calls.items():
            times = [(seconds(pair[0]), seconds(pair[1])) for _ in range(rounds)]
            ratios[name] = statistics.median(other for _, other in times) / statistics.median(own for own, _ in times)
    score = (found.pred_score - expected.pred_score.flatten()).abs().max() / expected.pred_score.max()
    map = (found.anomaly_map - expected.anomaly_map).abs().max() / expected.anomaly_map.max()
    return (
        f"{batch} images of {size} px, bank of {len(model.bank.patches)}: {ratios['whole']:.2f} times faster than "
        f"anomalib's module with the backbone ({ratios['single']:.2f} than it image by image), {ratios['search']:.2f} "
        "times in the search alone; largest relative "
        f"difference of a score {float(score):.1e}, of a map {float(map):.1e}"
    )


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=17_408)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for size, bank in ((128, 2500), (256, 2500), (256, 10_000)):
        print(compare_scoring(size, bank, 8, given.rounds), flush=True)
    print(compare_coresets(given.patches))


if __name__ == "__main__":
    main()
