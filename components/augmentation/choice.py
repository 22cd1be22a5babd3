"""The choice of an augmentation policy by the good images and the synthetic defects of a line.

A policy's bank holds the patches of some good images and of their augmentations. It is as good as the distance to its
nearest patch tells synthetic defects from good images that it does not know, by the AUROC over all folds. One measures
with whole images, reduced to 256 pixels where they are larger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from components.artifacts import ImageSet
from components.augmentation.config import FLIPS, ROTATIONS, SCALE, SHIFTS, SMALL_ROTATIONS, Config
from components.augmentation.policies import DISTINCT, make_policy
from components.compute import seed_everything
from components.metrics.held_out import Fold, folds
from components.metrics.validation import MIN_IMAGES, Validation, difference_error
from components.networks.patches import distances_to, reduced
from components.preprocessing.transform import preprocessing_of

if TYPE_CHECKING:
    from torch import Tensor

    from components.networks.patches import PatchNetwork

CANDIDATES = (SHIFTS, SCALE, SMALL_ROTATIONS, FLIPS, ROTATIONS)
"""Policies that are chosen from, those that presume the least of a part first."""
NONE = "none"

_MOST_KEPT, _MOST_HELD_OUT, _MOST_DEFECTS, _MOST_COPIES = 4, 10, 40, 8
_TOP = 0.01


@dataclass(frozen=True, kw_only=True)
class PolicyChoice:
    """The policy that was chosen, and why."""

    policy: str
    reason: str
    """What it rests on, in a sentence."""
    auroc: dict[str, float]
    """Of the banks of each policy, of `none` and of `photometric`; empty where nothing could be held out."""
    orientation_free: bool | None
    """Whether rotated images help to know unseen good ones by more than chance; None where that is unknown."""


def choose_policy(reference: str | Path, synthetic: str | Path | None, config: Config) -> PolicyChoice:
    """The policy whose bank tells synthetic defects from unseen good images best.

    Of policies that are behind the best by no more than the standard error of the difference, the first of `CANDIDATES`
    is taken. Rotations by any angle take part where the config says that a good part may lie in any direction, or where
    their bank is better than the one without augmentations by more than the standard error. Where fewer than two good
    images can be held out nothing is validated, and `rotations` or `shifts` is taken, as the config says.
    """
    measured = _Measured(ImageSet(reference), synthetic, config)
    names = (NONE, "photometric", *CANDIDATES) if measured.enough else ()
    found = {name: measured.validation(name) for name in names}
    validations = {name: validation for name, validation in found.items() if validation is not None}
    if not validations:
        chosen = ROTATIONS if config.orientation_free else SHIFTS
        why = f"not validated: that takes {MIN_IMAGES} held-out good images with synthetic defects"
        return PolicyChoice(policy=chosen, reason=f"{why}; the default", auroc={}, orientation_free=None)
    auroc = {name: validation.auroc for name, validation in validations.items()}
    free = auroc[ROTATIONS] - auroc[NONE] > difference_error(validations[ROTATIONS], validations[NONE])
    allowed = [name for name in CANDIDATES if name != ROTATIONS or config.orientation_free or free]
    best = max(allowed, key=lambda name: auroc[name])
    near = [
        name for name in allowed if auroc[best] - auroc[name] <= difference_error(validations[best], validations[name])
    ]
    images = len(validations[NONE].good)
    reason = (
        f"by synthetic defects on {images} held-out good images: AUROC {auroc[near[0]]:.4f}, {auroc[NONE]:.4f} without"
    )
    return PolicyChoice(policy=near[0], reason=reason, auroc=auroc, orientation_free=free)


class _Measured:
    """Scores of held-out good images and of the synthetic defects on them, by the banks of policies."""

    def __init__(self, reference: ImageSet, synthetic: str | Path | None, config: Config) -> None:
        self._reference = reference
        self._synthetic = ImageSet(synthetic) if synthetic is not None else None
        self._config = config
        self._content = preprocessing_of(reference).content_box.slices
        found = folds(reference.ids("train", "good"), reference.ids("calibration", "good"))
        share = max(1, _MOST_HELD_OUT // max(1, len(found)))
        self.folds = [Fold(fold.kept[:_MOST_KEPT], fold.held_out[:share]) for fold in found]
        self._scored: dict[Fold, tuple[list[dict[str, str]], Tensor, Tensor]] = {}

    @property
    def enough(self) -> bool:
        """Whether there is anything to measure."""
        return sum(len(fold.held_out) for fold in self.folds) >= MIN_IMAGES and self._synthetic is not None

    @cached_property
    def _network(self) -> "PatchNetwork":
        from components.networks.patches import PatchNetwork

        return PatchNetwork()

    def validation(self, policy: str) -> Validation | None:
        """Of a policy's banks, the scores of all folds."""
        import pandas as pd
        import torch

        rows = []
        for fold in self.folds:
            known, patches, distances = self._of_fold(fold)
            added = self._added(fold, policy)
            if added is not None:
                distances = torch.minimum(
                    distances, distances_to(added, patches.flatten(0, 1)).reshape(distances.shape)
                )
            top = max(1, round(_TOP * distances.shape[1]))
            scores = distances.topk(top, dim=1).values.mean(dim=1).tolist()
            rows += [{**row, "score": score} for row, score in zip(known, scores, strict=True)]
        return Validation.of(pd.DataFrame(rows))

    def _of_fold(self, fold: Fold) -> "tuple[list[dict[str, str]], Tensor, Tensor]":
        """Rows of a fold's images, their patches [n, p, dim], and the distances [n, p] to those of the kept images."""
        if fold not in self._scored:
            rows = [{"id": id, "source": id, "kind": "good", "family": ""} for id in fold.held_out]
            images = [self._image(self._reference, id) for id in fold.held_out]
            for row in self._defects(fold):
                rows.append(row)
                assert self._synthetic is not None
                images.append(self._image(self._synthetic, row["id"]))
            patches = self._patches(images)
            bank = self._patches([self._image(self._reference, id) for id in fold.kept]).flatten(0, 1)
            distances = distances_to(bank, patches.flatten(0, 1)).reshape(patches.shape[:2])
            self._scored[fold] = (rows, patches, distances)
        return self._scored[fold]

    def _defects(self, fold: Fold) -> list[dict[str, str]]:
        """Synthetic defects on the held-out images of a fold, evenly from all of theirs."""
        if self._synthetic is None:
            return []
        manifest = self._synthetic.manifest
        own = manifest[manifest["source"].isin(fold.held_out)]
        step = max(1, -(-len(own) * len(self.folds) // _MOST_DEFECTS))
        return [
            {"id": str(row.id), "source": str(row.source), "kind": "synthetic", "family": str(row.defect)}
            for row in own.iloc[::step].itertuples()
        ]

    def _added(self, fold: Fold, policy: str) -> "Tensor | None":
        """Patches [m, dim] of the augmentations of the kept images; drawn alike, whatever was drawn before."""
        if policy == NONE:
            return None
        seed_everything(self._config.seed)
        copies = min(self._config.images, _MOST_COPIES, DISTINCT.get(policy, _MOST_COPIES))
        augmented: list[Tensor] = []
        for id in fold.kept:
            image = self._image(self._reference, id)
            augment = make_policy(policy, self._config.strength, *image.shape[1:])
            augmented += [augment(image) for _ in range(copies)]
        return self._patches(augmented).flatten(0, 1)

    def _patches(self, images: "Sequence[Tensor]") -> "Tensor":
        """Patches [n, p, dim] of uint8 images [3, height, width] of one size."""
        import torch

        return self._network.fine(torch.stack(list(images)).float() / 255)

    def _image(self, images: ImageSet, id: str) -> "Tensor":
        """An image without its padding, uint8 [3, height, width], reduced where it is large."""
        import torch

        content = images.image(id)[self._content]
        return reduced(torch.from_numpy(content.copy()).permute(2, 0, 1))
